// What captures of a Linux guest take along, once the kernel is known: the tasks of the vCPUs, kernel
// variables, the state of sched_ext, BPF maps.
//
// Threads: made on one, before the coordinator has them; the parts' own rules from then on.
// Ownership: `kernel` outlives the parts. Errors: none; a part that this kernel does not allow is
// replaced by one that says so in every report.
#ifndef WATCHSNAP_SNAPSHOT_SESSION_KERNEL_PARTS_H_
#define WATCHSNAP_SNAPSHOT_SESSION_KERNEL_PARTS_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "debug/symbols/kernel_symbols.h"
#include "snapshot/capture/kernel_view.h"
#include "snapshot/evidence/evidence_part.h"
#include "snapshot/parts/variables_part.h"

namespace watchsnap {

struct KernelParts {
  std::vector<std::unique_ptr<EvidencePart>> parts;
  VariablesPart* variables = nullptr;  // one of them
  // NotFound for a kernel without sched_ext: there is no part for it, and no report says so.
  absl::Status scx;
};

KernelParts MakeKernelParts(std::shared_ptr<const KernelSymbols> symbols, const KernelView& kernel,
                            int vcpus);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SESSION_KERNEL_PARTS_H_
