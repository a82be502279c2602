// CurrentTaskPart: the task that each vCPU runs, as `vcpus[].task`.
//
// The kernel's per-CPU variable current_task says which, in whatever mode the vCPU was stopped (GS is
// the user's in user mode). Threads and errors: as of every EvidencePart; immutable.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_CURRENT_TASK_PART_H_
#define WATCHSNAP_SNAPSHOT_PARTS_CURRENT_TASK_PART_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "debug/kernel/per_cpu.h"
#include "debug/kernel/task_reader.h"
#include "debug/symbols/kernel_symbols.h"
#include "debug/types/type_graph.h"
#include "snapshot/evidence/evidence_part.h"

namespace watchsnap {

class CurrentTaskPart : public EvidencePart {
 public:
  // NotFound for a kernel without the variable (before 4.20 or so there was another).
  static absl::StatusOr<std::unique_ptr<CurrentTaskPart>> Create(const KernelSymbols& symbols,
                                                                 const TypeGraph& types,
                                                                 PerCpu per_cpu);
  // `current_task`: its per-CPU address, at run time.
  CurrentTaskPart(const TypeGraph& types, PerCpu per_cpu, uint64_t current_task)
      : per_cpu_(std::move(per_cpu)), current_task_(current_task), tasks_(types) {}

  std::string_view Name() const override { return "current_task"; }
  void Copy(const CaptureContext& context, MemoryReader& recorder) override;
  void Render(const CaptureContext& context, MemoryReader& memory, Report& report) override;

 private:
  // False where the CPU's variable cannot be read or holds no kernel address.
  bool FindTask(int cpu, MemoryReader& reader, uint64_t& task) const;

  const PerCpu per_cpu_;
  const uint64_t current_task_;
  const TaskReader tasks_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_CURRENT_TASK_PART_H_
