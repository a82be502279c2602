// StackCopy: the bytes of one vCPU's stacks, taken while the guest is frozen: from SP up to the end
// of its stack, then the stack that was left for it from there up, and so on. Typically a few
// hundred bytes to 2 KB.
//
//   StackCopy copy;                              // once: allocates kCapacity
//   copy.Take(extents, vcpu.sp(), copy_prefix);  // frozen: allocates nothing
//   unwinder->Unwind(input, [&](uint64_t kva, absl::Span<uint8_t> out) {
//     return copy.Read(kva, out);
//   });
//
// Threads: Take on one, later Read on any. Errors: none; what could not be copied is not there, and
// the unwinder says so. Guest input: at most kMaxParts stacks and kCapacity bytes, wherever the
// guest points.
#ifndef WATCHSNAP_DEBUG_STACKS_STACK_COPY_H_
#define WATCHSNAP_DEBUG_STACKS_STACK_COPY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "debug/stacks/stack_extents.h"

namespace watchsnap {

class StackCopy {
 public:
  // A task's whole stack, the IRQ stack and exception stacks above them.
  static constexpr size_t kMaxParts = 5;
  static constexpr size_t kCapacity = 48 << 10;

  // Copies from `kva` on until something is not mapped; returns how many bytes (ReadVirtualPrefix,
  // by the kernel's own page tables: those of user space may lack the stacks).
  using Copier = absl::FunctionRef<size_t(uint64_t kva, absl::Span<uint8_t> out)>;

  struct Part {
    uint64_t kva = 0;
    size_t offset = 0;  // in the buffer
    size_t size = 0;
  };

  // Pages of its own: what is never filled takes no memory, as it would in a heap whose pages others have used.
  StackCopy();

  // Replaces what was there. Nothing for an `sp` of user space.
  void Take(const StackExtents& extents, uint64_t sp, Copier copy);
  // All of `out`, or false.
  bool Read(uint64_t kva, absl::Span<uint8_t> out) const;

  size_t bytes() const { return used_; }
  absl::Span<const Part> parts() const { return absl::MakeConstSpan(parts_).first(count_); }

 private:
  bool ReadWord(uint64_t kva, uint64_t& word) const;

  struct Unmap {
    void operator()(uint8_t* pages) const;
  };
  std::unique_ptr<uint8_t, Unmap> buffer_;
  size_t used_ = 0;
  std::array<Part, kMaxParts> parts_ = {};
  size_t count_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_STACKS_STACK_COPY_H_
