// StackRenderer: a copied stack as the JSON array of a report: who called whom.
//
//   [{"address":"0x…","symbol":"tick_sched_timer","offset":60}, {"address":…,"interrupted":true,…}, …]
//
// Frames are unwound by the kernel's ORC table (debug/stacks); each is rendered once and kept by address.
// They have no source lines: a first stack has dozens of frames, each in a compilation unit of its own that
// would have to be decoded, while hits keep coming; the writer of a report has them.
// Threads: one, the renderer's. Ownership: keeps symbols and unwinder.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_STACK_RENDERER_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_STACK_RENDERER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"
#include "debug/stacks/stack_copy.h"
#include "debug/stacks/stack_unwinder.h"
#include "debug/symbols/kernel_symbols.h"
#include "snapshot/capture/guest_view.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap {

class StackRenderer {
 public:
  static absl::StatusOr<std::unique_ptr<StackRenderer>> Create(
      std::shared_ptr<const KernelSymbols> symbols, uint64_t slide);

  RenderedStack Render(const VcpuRegisters& registers, const StackCopy& copy);

 private:
  StackRenderer(std::shared_ptr<const KernelSymbols> symbols, uint64_t slide,
                std::shared_ptr<const StackUnwinder> unwinder)
      : symbols_(std::move(symbols)), slide_(slide), unwinder_(std::move(unwinder)) {}
  const std::string& FrameJson(const StackFrame& frame);

  const std::shared_ptr<const KernelSymbols> symbols_;
  const uint64_t slide_;
  const std::shared_ptr<const StackUnwinder> unwinder_;
  std::unordered_map<uint64_t, std::string> frames_;  // by pc and kind
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_STACK_RENDERER_H_
