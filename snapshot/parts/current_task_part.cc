#include "snapshot/parts/current_task_part.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "snapshot/parts/task_json.h"

namespace watchsnap {
namespace {

// Both x86_64 and aarch64 have the kernel in the upper half.
constexpr uint64_t kUpperHalf = uint64_t{1} << 63;

}  // namespace

absl::StatusOr<std::unique_ptr<CurrentTaskPart>> CurrentTaskPart::Create(
    const KernelSymbols& symbols, const TypeGraph& types, PerCpu per_cpu) {
  const absl::StatusOr<uint64_t> address = symbols.AddressOf("current_task");
  if (!address.ok()) return address.status();
  const uint64_t current_task = per_cpu.SymbolAt(*address);
  return std::make_unique<CurrentTaskPart>(types, std::move(per_cpu), current_task);
}

bool CurrentTaskPart::FindTask(int cpu, MemoryReader& reader, uint64_t& task) const {
  return reader.Load(per_cpu_.AddressOf(cpu, current_task_), task) && task >= kUpperHalf;
}

void CurrentTaskPart::Copy(const CaptureContext& /*context*/, MemoryReader& recorder) {
  for (int cpu = 0; cpu < per_cpu_.cpus(); ++cpu) {
    uint64_t task = 0;
    if (FindTask(cpu, recorder, task)) (void)tasks_.Read(recorder, task);
  }
}

void CurrentTaskPart::Render(const CaptureContext& /*context*/, MemoryReader& memory,
                             Report& report) {
  const size_t cpus = std::min(report.vcpus.size(), static_cast<size_t>(per_cpu_.cpus()));
  for (size_t cpu = 0; cpu < cpus; ++cpu) {
    const std::string what = absl::StrCat("vcpus[", cpu, "].task");
    uint64_t address = 0;
    if (!FindTask(static_cast<int>(cpu), memory, address)) {
      report.degraded.push_back({what, "this CPU's current_task could not be read"});
      continue;
    }
    std::string json;
    const std::string unknown = AppendTask(tasks_.Read(memory, address), json);
    SetMember(report.vcpus[cpu].more, "task", std::move(json));
    if (unknown.empty()) continue;
    report.degraded.push_back(
        {what, absl::StrCat(unknown, ": not in the evidence",
                            tasks_.missing().empty()
                                ? ""
                                : absl::StrCat(" (", tasks_.missing().front(), ")"))});
  }
}

}  // namespace watchsnap
