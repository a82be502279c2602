// StackUnwinder: who called whom, from registers and bytes of stack that were copied before.
//
//   ASSIGN_OR_RETURN(std::shared_ptr<const StackUnwinder> unwinder, StackUnwinder::Create(symbols));
//   UnwoundStack stack = unwinder->Unwind(
//       {.registers = UnwindRegisters::From(vcpu), .slide = slide},
//       [&](uint64_t kva, absl::Span<uint8_t> out) { return copy.Read(kva, out); });  // stack_copy.h
//   std::string text = FormatStack(stack, *symbols, slide);
//
// Frames come from the kernel's own unwind table (ORC) only, through interrupt and exception frames
// and from one stack to the next, until user space or the place where a thread or a CPU started.
// Nothing is guessed: where the table or the bytes end, the stack ends and says why (StackEnd).
//
// Threads: immutable; any thread, several at once. Create reads 5 MB of the vmlinux; Unwind
// allocates its result. Ownership: keeps the symbols alive. Guest input: stack bytes and registers
// may be anything. Work is at most `max_frames` steps with a few reads each; no address is read
// except through the reader. Units: addresses are run-time KVAs, `slide` is what KASLR adds to
// link-time ones.
#ifndef WATCHSNAP_DEBUG_STACKS_STACK_UNWINDER_H_
#define WATCHSNAP_DEBUG_STACKS_STACK_UNWINDER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/stacks/x86_64/orc_table.h"
#include "debug/stacks/x86_64/unwind_registers.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {

// Fills all of `out` with the bytes at `kva`, or returns false if not all of them were copied.
using StackReader = absl::FunctionRef<bool(uint64_t kva, absl::Span<uint8_t> out)>;

enum class FrameKind {
  kInnermost,    // the registers that unwinding began with
  kCaller,       // pc is a return address: the call is before it
  kInterrupted,  // an interrupt or exception came at pc; its registers were on the stack
  kStart,  // pc is where a function starts that was not called but put there as a return address:
           // what a new task begins with (ret_from_fork_asm), or the target of a retpoline
};

struct StackFrame {
  uint64_t pc = 0;
  uint64_t sp = 0;  // the stack pointer of this function, at pc
  FrameKind kind = FrameKind::kInnermost;
  // Of kInterrupted: where its registers were saved (x86_64: struct pt_regs); 0 where not all of
  // them were.
  uint64_t saved_registers = 0;

  // The address to ask symbols and line tables about: inside the call, not behind it.
  uint64_t lookup_pc() const { return kind == FrameKind::kCaller ? pc - 1 : pc; }
};

enum class StackEnd {
  // Whole stacks.
  kUserSpace,     // the kernel was entered from user_pc
  kKernelEntry,   // in entry code that has not saved the user's registers yet, or has restored them
  kKernelThread,  // where a kernel thread started
  kCpuStart,      // where a CPU's idle task started
  kEndOfStack,    // elsewhere, where the kernel says that nothing is above
  // Cut short; `detail` has the particulars.
  kNotCopied,      // bytes at missing_address are needed
  kNoUnwindEntry,  // the last frame's code has no unwind information (a module, generated code, odd
                   // assembly)
  kBadEntry,  // its unwind information needs a register that is not known there, or makes no sense
  kLoop,      // the next stack pointer is where the stack was already
  kMaxFrames,
};

// True for the ends at which nothing is missing.
bool IsWhole(StackEnd end);
// "user space", "ran out of copied bytes", … for reports.
std::string_view StackEndName(StackEnd end);

struct UnwoundStack {
  std::vector<StackFrame> frames;  // innermost first; empty if the registers were user space's
  StackEnd end = StackEnd::kMaxFrames;
  std::string detail;            // why a stack was cut short
  uint64_t missing_address = 0;  // of kNotCopied
  uint32_t missing_bytes = 0;
  uint64_t user_pc = 0;  // of kUserSpace
  uint64_t user_sp = 0;
};

struct UnwindInput {
  UnwindRegisters registers;
  uint64_t slide = 0;
  // True for addresses in code that the kernel generated with frame pointers: programs and
  // trampolines of BPF (those that /proc/kallsyms shows as [bpf]). Without it a stack ends at the
  // first of them.
  std::function<bool(uint64_t pc)> has_frame_pointer;
};

class StackUnwinder {
 public:
  static constexpr int kDefaultMaxFrames = 128;

  // Errors: those of the unwind table (NotFound, Unimplemented, InvalidArgument).
  static absl::StatusOr<std::shared_ptr<const StackUnwinder>> Create(
      std::shared_ptr<const KernelSymbols> symbols);

  UnwoundStack Unwind(const UnwindInput& input, StackReader read,
                      int max_frames = kDefaultMaxFrames) const;

 private:
  StackUnwinder(std::shared_ptr<const KernelSymbols> symbols, x86_64::OrcTable table);
  // The rule for a frame, at link-time addresses. May find that a caller is a start
  // (FrameKind::kStart).
  std::optional<x86_64::OrcEntry> FindEntry(StackFrame& frame, const StackFrame* callee,
                                            const UnwindInput& input) const;
  bool IsBehindErrorEntry(const StackFrame& frame, const StackFrame* callee, uint64_t slide) const;
  // What the function at link-time `address` means for a stack that ends there.
  StackEnd EndAt(uint64_t address) const;

  const std::shared_ptr<const KernelSymbols> symbols_;
  const x86_64::OrcTable table_;
  // Link-time; 0 where the kernel has no such symbols.
  uint64_t entry_text_begin_ = 0;
  uint64_t entry_text_end_ = 0;
  uint64_t thunks_ = 0;  // __x86_indirect_thunk_array
  uint64_t sync_regs_begin_ = 0;
  uint64_t sync_regs_end_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_STACKS_STACK_UNWINDER_H_
