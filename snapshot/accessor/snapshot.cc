#include "snapshot/accessor/snapshot.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "snapshot/accessor/alternatives.h"
#include "snapshot/accessor/path.h"
#include "snapshot/accessor/snapshot_source.h"

namespace watchsnap {
namespace {

constexpr std::string_view kMaps = "maps";
constexpr std::string_view kVariables = "variables";

std::optional<JsonNode> MemberOf(const std::optional<JsonNode>& node, std::string_view name) {
  return node.has_value() ? node->Member(name) : std::nullopt;
}

Place PlaceOf(JsonNode node, std::string_view part, std::string_view name) {
  const std::string path = MemberPath(part, name);
  return Place{node, path, path};
}

}  // namespace

Snapshot::Snapshot(Report report)
    : source_(std::make_shared<const SnapshotSource>(std::move(report))) {}

Snapshot::Snapshot(absl::StatusOr<std::shared_ptr<const JsonDocument>> document)
    : source_(std::make_shared<const SnapshotSource>(std::move(document))) {}

Snapshot Snapshot::FromJson(std::string_view text) { return Snapshot(JsonParser().Parse(text)); }

SnapshotMap Snapshot::Map(std::string_view name) const {
  absl::StatusOr<Place> root = source_->Root();
  if (!root.ok()) return SnapshotMap(root.status());
  const auto maps = root->node.Member(kMaps);
  if (const auto map = MemberOf(maps, name); map.has_value()) {
    return SnapshotMap(std::string(name), SnapshotValue(source_, PlaceOf(*map, kMaps, name)));
  }
  return SnapshotMap(source_->Error(
      absl::StatusCode::kNotFound,
      maps.has_value() ? absl::StrCat("Map(\"", name, "\"): there is no such map; ",
                                      Alternatives(name, "the capture's maps are", MapNames()))
                       : absl::StrCat("Map(\"", name, "\"): the capture holds no BPF maps"),
      MemberPath(kMaps, name), true));
}

SnapshotValue Snapshot::Var(std::string_view name) const {
  absl::StatusOr<Place> root = source_->Root();
  if (!root.ok()) return SnapshotValue(root.status());
  const auto maps = root->node.Member(kMaps);
  std::vector<std::string> found;
  std::vector<std::string> names;
  std::optional<Place> place;
  if (maps.has_value()) {
    maps->ForEachMember([&](std::string_view map, JsonNode node) {
      const auto section = node.Member("value");
      if (!section.has_value() || !section->is_object()) return true;
      const std::string path = MemberPath(MemberPath(kMaps, map), "value");
      section->ForEachMember([&](std::string_view variable, JsonNode value) {
        const std::string qualified = absl::StrCat(map, ".", variable);
        if (qualified == name) {
          place = PlaceOf(value, path, variable);
          found.assign(1, qualified);
          return false;
        }
        if (variable == name) {
          place = PlaceOf(value, path, variable);
          found.push_back(qualified);
        }
        names.emplace_back(variable);
        return true;
      });
      return found.empty() || found.back() != name;
    });
  }
  if (found.size() == 1) return SnapshotValue(source_, *std::move(place));
  if (found.size() > 1) {
    return SnapshotValue(source_->Labelled(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat("Var(\"", name, "\") is ambiguous: it is in ", found.size(),
                     " maps; choose one of Var(\"", absl::StrJoin(found, "\"), Var(\""), "\")")));
  }
  std::string text = absl::StrCat("Var(\"", name, "\"): no BPF program has such a global variable; ",
                                  Alternatives(name, "the captured ones are", names));
  if (MemberOf(root->node.Member(kVariables), name).has_value()) {
    absl::StrAppend(&text, "; the kernel has: KernelVar(\"", name, "\")");
  }
  if (const auto why = source_->WhyMapsAreMissing(); why.has_value()) {
    return SnapshotValue(source_->Labelled(
        absl::StatusCode::kDataLoss,
        absl::StrCat(text, "; the capture is degraded there: ", *why)));
  }
  return SnapshotValue(source_->Labelled(absl::StatusCode::kNotFound, text));
}

SnapshotValue Snapshot::KernelVar(std::string_view name) const {
  absl::StatusOr<Place> root = source_->Root();
  if (!root.ok()) return SnapshotValue(root.status());
  const auto variables = root->node.Member(kVariables);
  const auto variable = MemberOf(variables, name);
  const std::string path = MemberPath(kVariables, name);
  if (!variable.has_value()) {
    return SnapshotValue(source_->Error(
        absl::StatusCode::kNotFound,
        absl::StrCat("KernelVar(\"", name, "\"): it was not taken along; ",
                     Alternatives(name, "captured are", KernelVarNames()),
                     "; name it in Op::WatchSnapshot or Op::Snapshot"),
        path, true));
  }
  if (const auto per_cpu = variable->Member("per_cpu"); per_cpu.has_value()) {
    return SnapshotValue(source_, PlaceOf(*per_cpu, path, "per_cpu"),
                         SnapshotValue::PerCpu::kObjectsWithValue);
  }
  return SnapshotValue(source_, PlaceOf(*variable, kVariables, name)).Get("value");
}

SnapshotValue Snapshot::Get(std::string_view path) const {
  absl::StatusOr<Place> root = source_->Root();
  if (!root.ok()) return SnapshotValue(root.status());
  return SnapshotValue(source_, *std::move(root)).Get(path);
}

absl::Status Snapshot::status() const { return source_->Root().status(); }

std::vector<std::string> Snapshot::MapNames() const {
  absl::StatusOr<Place> root = source_->Root();
  if (!root.ok()) return {};
  const auto maps = root->node.Member(kMaps);
  return maps.has_value() ? MemberNames(*maps) : std::vector<std::string>();
}

std::vector<std::string> Snapshot::KernelVarNames() const {
  absl::StatusOr<Place> root = source_->Root();
  if (!root.ok()) return {};
  const auto variables = root->node.Member(kVariables);
  return variables.has_value() ? MemberNames(*variables) : std::vector<std::string>();
}

}  // namespace watchsnap
