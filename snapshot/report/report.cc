#include "snapshot/report/report.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

constexpr std::pair<TriggerKind, std::string_view> kTriggerKinds[] = {
    {TriggerKind::kWatch, "watch"},        {TriggerKind::kSnapshot, "snapshot"},
    {TriggerKind::kExitKind, "exit_kind"}, {TriggerKind::kPeriodic, "periodic"},
    {TriggerKind::kFinal, "final"},
};

}  // namespace

std::string_view TriggerKindName(TriggerKind kind) {
  for (const auto& [value, name] : kTriggerKinds) {
    if (value == kind) return name;
  }
  return "unknown";
}

absl::StatusOr<TriggerKind> ParseTriggerKind(std::string_view name) {
  for (const auto& [value, known] : kTriggerKinds) {
    if (known == name) return value;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "a trigger's kind is one of watch, snapshot, exit_kind, periodic, final; found '", name,
      "'"));
}

const std::string* FindMember(const JsonMembers& members, std::string_view name) {
  for (const JsonMember& member : members) {
    if (member.name == name) return &member.json;
  }
  return nullptr;
}

void SetMember(JsonMembers& members, std::string_view name, std::string json) {
  for (JsonMember& member : members) {
    if (member.name == name) {
      member.json = std::move(json);
      return;
    }
  }
  members.push_back({std::string(name), std::move(json)});
}

std::optional<uint64_t> VcpuReport::RegisterValue(std::string_view name) const {
  for (const Register& reg : registers) {
    if (reg.name == name) return reg.value;
  }
  return std::nullopt;
}

}  // namespace watchsnap
