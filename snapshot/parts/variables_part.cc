#include "snapshot/parts/variables_part.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "snapshot/parts/captured_objects.h"
#include "snapshot/parts/raw_value.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

constexpr uint64_t kUpperHalf = uint64_t{1} << 63;

// The first bytes of the value at `address` that were copied.
std::vector<uint8_t> Copied(MemoryReader& memory, uint64_t address, uint64_t bytes) {
  std::vector<uint8_t> value(memory.Take(address, std::min(bytes, VariablesPart::kMaxBytes)));
  if (!memory.Read(address, absl::MakeSpan(value))) value.clear();
  return value;
}

std::string CutMessage(uint64_t bytes) {
  return absl::StrCat("of its ", bytes, " bytes the first ", VariablesPart::kMaxBytes,
                      " are taken along");
}

}  // namespace

absl::StatusOr<std::vector<const KernelVariable*>> VariablesPart::Resolve(
    absl::Span<const std::string> names) {
  std::vector<const KernelVariable*> variables;
  for (const std::string& name : names) {
    const absl::StatusOr<const KernelVariable*> variable = variables_.Find(name);
    if (!variable.ok()) return variable.status();
    if (std::find(variables.begin(), variables.end(), *variable) == variables.end()) {
      variables.push_back(*variable);
    }
  }
  return variables;
}

void VariablesPart::Publish(List list) {
  list.next = newest_.load(std::memory_order_relaxed);
  lists_.push_back(std::make_unique<const List>(std::move(list)));
  newest_.store(lists_.back().get(), std::memory_order_release);
}

absl::Status VariablesPart::TakeAlways(absl::Span<const std::string> names) {
  auto variables = Resolve(names);
  if (!variables.ok()) return variables.status();
  Publish({.of = List::Of::kAll, .variables = *std::move(variables)});
  return absl::OkStatus();
}

absl::Status VariablesPart::TakeForWatch(int watch, absl::Span<const std::string> names) {
  auto variables = Resolve(names);
  if (!variables.ok()) return variables.status();
  Publish({.of = List::Of::kWatch, .watch = watch, .variables = *std::move(variables)});
  return absl::OkStatus();
}

absl::Status VariablesPart::TakeForTag(std::string_view tag, absl::Span<const std::string> names) {
  auto variables = Resolve(names);
  if (!variables.ok()) return variables.status();
  List list = {.of = List::Of::kTag, .tag = std::string(tag)};
  const List* earlier = Newest(List::Of::kTag, -1, tag);
  if (earlier != nullptr) list.variables = earlier->variables;
  for (const KernelVariable* variable : *variables) {
    if (std::find(list.variables.begin(), list.variables.end(), variable) ==
        list.variables.end()) {
      list.variables.push_back(variable);
    }
  }
  if (list.variables.size() == (earlier == nullptr ? 0 : earlier->variables.size())) {
    return absl::OkStatus();  // nothing new
  }
  Publish(std::move(list));
  return absl::OkStatus();
}

const VariablesPart::List* VariablesPart::Newest(List::Of of, int watch,
                                                 std::string_view tag) const {
  for (const List* list = newest_.load(std::memory_order_acquire); list != nullptr;
       list = list->next) {
    if (list->of == of && list->watch == watch && list->tag == tag) return list;
  }
  return nullptr;
}

template <typename Take>
void VariablesPart::ForEach(const CaptureContext& context, Take take) const {
  const auto all_of = [&take](const List* list) {
    if (list == nullptr) return;
    for (const KernelVariable* variable : list->variables) take(*variable);
  };
  for (const int watch : context.watches) all_of(Newest(List::Of::kWatch, watch, ""));
  if (!context.tag.empty()) all_of(Newest(List::Of::kTag, -1, context.tag));
  for (const List* list = newest_.load(std::memory_order_acquire); list != nullptr;
       list = list->next) {
    if (list->of == List::Of::kAll) all_of(list);
  }
}

void VariablesPart::CopyValue(const KernelVariable& variable, uint64_t address,
                              MemoryReader& recorder) const {
  if (!variable.pointee.has_value()) {
    recorder.Take(address, std::min(variable.bytes, kMaxBytes));
    return;
  }
  uint64_t pointer = 0;
  if (!recorder.Load(address, pointer) || pointer < kUpperHalf) return;
  recorder.Take(pointer, std::min(variable.pointee->bytes, kMaxBytes));
}

void VariablesPart::Copy(const CaptureContext& context, MemoryReader& recorder) {
  ForEach(context, [this, &recorder](const KernelVariable& variable) {
    if (!variable.per_cpu) return CopyValue(variable, variable.address, recorder);
    for (int cpu = 0; cpu < per_cpu_.cpus(); ++cpu) {
      CopyValue(variable, per_cpu_.AddressOf(cpu, variable.address), recorder);
    }
  });
}

std::string VariablesPart::RenderAt(const KernelVariable& variable, uint64_t address,
                                    std::string_view what, MemoryReader& memory,
                                    Report& report) const {
  const std::vector<uint8_t> bytes = Copied(memory, address, variable.bytes);
  if (bytes.empty()) {
    report.degraded.push_back(
        {std::string(what), "its bytes are not in the evidence: not readable in the guest, or no "
                            "room was left for them"});
    return "null";
  }
  std::string json;
  if (variable.graph == nullptr) {
    AppendRawValue(json, bytes);
    return json;
  }
  AppendTypedValue(json, *variable.graph, variable.type, bytes, {}, what, report.degraded);
  if (variable.pointee.has_value()) RenderPointee(variable, address, what, memory, report);
  return json;
}

void VariablesPart::RenderPointee(const KernelVariable& variable, uint64_t address,
                                  std::string_view what, MemoryReader& memory,
                                  Report& report) const {
  uint64_t pointer = 0;
  if (!memory.Load(address, pointer) || pointer < kUpperHalf) return;
  const KernelVariable::Pointee& pointee = *variable.pointee;
  const std::vector<uint8_t> bytes = Copied(memory, pointer, pointee.bytes);
  const std::string object = absl::StrCat("objects[\"0x", absl::Hex(pointer), "\"]");
  if (bytes.empty()) {
    report.degraded.push_back({object, absl::StrCat("where ", what, " points to could not be read")});
    return;
  }
  if (pointee.bytes > kMaxBytes) report.degraded.push_back({object, CutMessage(pointee.bytes)});
  std::string json;
  AppendTypedValue(json, *pointee.graph, pointee.type, bytes, {}, object, report.degraded);
  AddCapturedObject(report, pointer, pointee.graph->Describe(pointee.type), json);
}

void VariablesPart::Render(const CaptureContext& context, MemoryReader& memory, Report& report) {
  std::string json;
  JsonObject variables(json);
  std::vector<const KernelVariable*> done;
  ForEach(context, [&](const KernelVariable& variable) {
    if (std::find(done.begin(), done.end(), &variable) != done.end()) return;
    done.push_back(&variable);
    const std::string what = absl::StrCat("variables[\"", variable.name, "\"]");
    if (variable.graph == nullptr) report.degraded.push_back({what, variable.why_no_type});
    if (variable.bytes > kMaxBytes) report.degraded.push_back({what, CutMessage(variable.bytes)});
    JsonObject object(variables.Key(variable.name));
    if (!variable.per_cpu) object.Hex("address", variable.address);
    if (variable.graph != nullptr) object.String("type", variable.graph->Describe(variable.type));
    object.Uint("bytes", variable.bytes);
    if (!variable.per_cpu) {
      object.Raw("value", RenderAt(variable, variable.address, what, memory, report));
    } else {
      std::string& cpus = object.Key("per_cpu");
      for (int cpu = 0; cpu < per_cpu_.cpus(); ++cpu) {
        const uint64_t address = per_cpu_.AddressOf(cpu, variable.address);
        cpus += cpu == 0 ? '[' : ',';
        JsonObject copy(cpus);
        copy.Hex("address", address);
        copy.Raw("value", RenderAt(variable, address, absl::StrCat(what, ".per_cpu[", cpu, "]"),
                                   memory, report));
        copy.Close();
      }
      cpus += ']';
    }
    object.Close();
  });
  variables.Close();
  if (!done.empty()) SetMember(report.more, "variables", std::move(json));
}

}  // namespace watchsnap
