// VariablesPart: kernel variables in captures, as `variables`, and what the pointers among them point
// to, as `objects`. A capture takes along the variables of the session, those of the watches that were
// hit (the watched one itself, and whichever were named with it), or those named for its tag.
//
//   VariablesPart* part = …;                                   // in EvidenceParts
//   part->TakeAlways({"nr_threads"});                          // coordinating thread
//   part->TakeForWatch(index, {"jiffies_64", "total_forks"});  // before the watch is armed
//   part->TakeForTag("after boot", {"runqueues"});             // before the capture
//
// What is named for a tag is from then on in every capture of this tag.
//
// Threads: Take… from one thread at a time (they may look up types in DWARF: up to some 100 ms a new
// name), while captures are taken; Copy and Render as of every EvidencePart. The lists are
// published whole and never changed, so neither waits.
// Errors of Take…: as KernelVariables::Find; nothing is taken then.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_VARIABLES_PART_H_
#define WATCHSNAP_SNAPSHOT_PARTS_VARIABLES_PART_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "debug/kernel/kernel_variables.h"
#include "debug/kernel/per_cpu.h"
#include "snapshot/evidence/evidence_part.h"

namespace watchsnap {

class VariablesPart : public EvidencePart {
 public:
  // Bytes of one variable, and of one pointee, that a capture takes; what is cut is said in the report.
  static constexpr uint64_t kMaxBytes = 64 << 10;

  VariablesPart(KernelVariables variables, PerCpu per_cpu)
      : variables_(std::move(variables)), per_cpu_(std::move(per_cpu)) {}

  absl::Status TakeAlways(absl::Span<const std::string> names);
  // `watch`: an index in the coordinator's table; replaces what an earlier watch there had.
  absl::Status TakeForWatch(int watch, absl::Span<const std::string> names);
  absl::Status TakeForTag(std::string_view tag, absl::Span<const std::string> names);

  std::string_view Name() const override { return "variables"; }
  void Copy(const CaptureContext& context, MemoryReader& recorder) override;
  void Render(const CaptureContext& context, MemoryReader& memory, Report& report) override;

 private:
  struct List {
    enum class Of { kAll, kWatch, kTag } of = Of::kAll;
    int watch = -1;
    std::string tag;
    std::vector<const KernelVariable*> variables;
    const List* next = nullptr;  // the one that was published before
  };

  absl::StatusOr<std::vector<const KernelVariable*>> Resolve(absl::Span<const std::string> names);
  void Publish(List list);
  const List* Newest(List::Of of, int watch, std::string_view tag) const;
  // Calls `take(variable)` for all that a capture takes along; one may come twice.
  template <typename Take>
  void ForEach(const CaptureContext& context, Take take) const;

  void CopyValue(const KernelVariable& variable, uint64_t address, MemoryReader& recorder) const;
  // The JSON of the value at `address`; "null" with an entry in `degraded` where it is not there.
  std::string RenderAt(const KernelVariable& variable, uint64_t address, std::string_view what,
                       MemoryReader& memory, Report& report) const;
  void RenderPointee(const KernelVariable& variable, uint64_t address, std::string_view what,
                     MemoryReader& memory, Report& report) const;

  KernelVariables variables_;
  const PerCpu per_cpu_;
  std::vector<std::unique_ptr<const List>> lists_;  // whoever calls Take…
  std::atomic<const List*> newest_{nullptr};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_VARIABLES_PART_H_
