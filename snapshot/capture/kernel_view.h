// KernelView: the running guest kernel, as its vmlinux lets us read it: which symbols are where, and
// what stands at a kernel address.
//
// Made once, when the slide has been measured and the build ID compared; immutable afterwards, so it
// may be used from any thread (Stack, CopyPrefix and BeginFreeze apart), with the guest running or frozen. Reads go through the kernel's own page
// tables (init_top_pgt), which outlive every process.
// Units: addresses are run-time KVAs.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_KERNEL_VIEW_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_KERNEL_VIEW_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/lines/source_lines.h"
#include "debug/symbols/kernel_symbols.h"
#include "debug/types/dwarf_types.h"
#include "debug/types/type_graph.h"
#include "snapshot/capture/guest_view.h"
#include "snapshot/capture/stack_renderer.h"
#include "snapshot/capture/stack_source.h"
#include "vmm/machine.h"
#include "vmm/x86_64/page_walk.h"
#include "vmm/x86_64/page_walk_cache.h"

namespace watchsnap {

class KernelView : public GuestView, public StackSource {
 public:
  // Measures the slide on vCPU 0 (MSR_LSTAR, else the IDT) and compares build IDs. FailedPrecondition while
  // the kernel is too early in its boot, or for another build. Freezes the guest for a moment; not on a
  // vCPU thread.
  static absl::StatusOr<std::unique_ptr<KernelView>> Create(
      std::shared_ptr<const KernelSymbols> symbols, Machine& machine);

  const KernelSymbols& symbols() const { return *symbols_; }
  uint64_t slide() const { return slide_; }
  const std::string& slide_source() const { return slide_source_; }

  absl::Status Read(uint64_t kva, absl::Span<uint8_t> out) const override;
  std::optional<TextSymbol> Symbolize(uint64_t address) const override;
  absl::StatusOr<std::vector<SourceFrame>> Lines(uint64_t address) const override;
  // On the renderer's thread only.
  absl::StatusOr<RenderedStack> Stack(const VcpuRegisters& registers,
                                      const StackCopy& copy) const override;
  // Whether stacks can be copied and unwound; why not.
  const absl::Status& stacks_status() const { return stacks_status_; }
  const StackExtents& stack_extents() const override { return *extents_; }
  // These three by whoever leads a freeze, only then.
  void BeginFreeze() const override { walked_.Forget(); }
  size_t CopyPrefix(uint64_t kva, absl::Span<uint8_t> out) const override {
    return walked_.ReadPrefix(*memory_, paging_, kva, out);
  }
  VirtualPiece PieceAt(uint64_t kva) const override { return walked_.Find(kva); }
  // The value of the 4-byte variable `name`.
  absl::StatusOr<uint32_t> ReadU32(std::string_view name) const;
  // The run-time address of one of the kernel's own symbols.
  absl::StatusOr<uint64_t> AddressOf(std::string_view name) const;
  // The kernel's types, from .BTF; what BTF lacks (the types of most variables), from DWARF, slowly.
  const absl::StatusOr<std::shared_ptr<const TypeGraph>>& types() const { return types_; }
  const absl::StatusOr<std::unique_ptr<DwarfTypes>>& dwarf_types() const { return dwarf_types_; }

 private:
  KernelView(std::shared_ptr<const KernelSymbols> symbols, const GuestMemory* memory);

  absl::Status PrepareStacks(int vcpus);

  const std::shared_ptr<const KernelSymbols> symbols_;
  const GuestMemory* const memory_;
  // A kernel without debug information is watched all the same: the status says why there are no lines.
  const absl::StatusOr<std::unique_ptr<SourceLines>> lines_;
  const absl::StatusOr<std::shared_ptr<const TypeGraph>> types_;
  const absl::StatusOr<std::unique_ptr<DwarfTypes>> dwarf_types_;
  std::unique_ptr<StackRenderer> stacks_;
  std::optional<StackExtents> extents_;
  absl::Status stacks_status_;
  PagingState paging_ = {};
  mutable PageWalkCache walked_;
  uint64_t slide_ = 0;
  std::string slide_source_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_KERNEL_VIEW_H_
