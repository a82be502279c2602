// EvidencePart: something that captures take along beyond registers and stacks: variables, tasks, BPF
// maps, the state of sched_ext. Each part knows how to copy its bytes while the guest is frozen, and
// how to render them afterwards, from those bytes alone.
//
// Threads: Copy on the thread that leads the freeze, one freeze at a time; Render on the renderer's
// thread, later and possibly while another freeze is under way: what both use is immutable or the
// part's own business. Parts outlive the vCPUs and the renderer.
// Copy's contract: it allocates, formats, locks and looks up nothing; addresses and offsets were
// resolved when the part was made. Its work is bounded whatever guest memory says. It reads through
// the recorder: every byte it reads is evidence, and Render finds exactly these bytes in `memory`.
// Errors: none; what could not be copied or rendered is an entry in the report's `degraded`.
#ifndef WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_PART_H_
#define WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_PART_H_

#include <cstdint>
#include <string_view>

#include "absl/types/span.h"
#include "debug/memory_reader.h"
#include "snapshot/report/report.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap {

// What the capture at hand is.
struct CaptureContext {
  TriggerKind kind = TriggerKind::kSnapshot;
  absl::Span<const VcpuRegisters> registers;  // by vCPU
  // Indexes in the coordinator's table of the watches that were hit; empty for other captures.
  absl::Span<const int> watches;
  std::string_view tag;  // of a capture that no watch triggered
};

class EvidencePart {
 public:
  virtual ~EvidencePart() = default;
  // "bpf_maps": for messages and for the cost by part.
  virtual std::string_view Name() const = 0;
  virtual void Copy(const CaptureContext& context, MemoryReader& recorder) = 0;
  // Adds members to `report` (vcpus[].more, more) and to its `degraded`.
  virtual void Render(const CaptureContext& context, MemoryReader& memory, Report& report) = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_PART_H_
