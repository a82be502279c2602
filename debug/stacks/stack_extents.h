// StackExtents: where the kernel's stacks end, and where one says which stack was left for it. With
// it a freeze copies a stack from SP up and follows it across stack switches, without unwinding:
//
//   absl::StatusOr<StackExtents> extents =              // once, not frozen
//       StackExtents::Create(*symbols, slide, read_kernel, cpus);
//   copies[i].Take(*extents, vcpu.sp(), copy_prefix);    // frozen; stack_copy.h
//
// What there is (x86_64):
// - A task's stack: THREAD_SIZE bytes, aligned to that, so its end is known from the address alone.
// - The IRQ stack of a CPU (hardirqs, and softirqs that run when one ends): IRQ_STACK_SIZE bytes at
//   a page; the word at its top is the SP of the stack that was left.
// - The exception stacks of a CPU (#DF, NMI, #DB, #MC, #VC), in the CPU entry area with unmapped
//   pages between; at the top is what the processor pushed: RIP, CS, RFLAGS, RSP, SS.
// - The entry stack of a CPU, a page, only ever entered from user space.
// All but the tasks' are placed once, when the kernel brings up its CPUs: Create reads where, for
// CPUs that are up. One that comes up later is not known: its IRQ stack is then taken for a task's.
//
// Threads: immutable; Find from any thread, allocates nothing. Units: run-time KVAs, `end` is
// exclusive. Errors: FailedPrecondition if the kernel's per-CPU offsets cannot be read. A kernel
// without one of the variables has fewer known stacks. Guest input: addresses read from the guest
// are checked for being kernel addresses and nothing else; a hostile guest can make a copy useless,
// not long. Sources: Linux
// arch/x86/include/asm/{page_64_types,processor,irq_stack,cpu_entry_area}.h,
// arch/x86/kernel/{irq_64,dumpstack_64,cpu/common}.c.
#ifndef WATCHSNAP_DEBUG_STACKS_STACK_EXTENTS_H_
#define WATCHSNAP_DEBUG_STACKS_STACK_EXTENTS_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {

struct StackExtent {
  enum class Kind { kTask, kIrq, kException, kEntry, kNone };

  Kind kind = Kind::kNone;  // kNone: not a kernel address
  uint64_t begin = 0;
  uint64_t end = 0;
  // Where the SP of the stack that was left for this one stands; 0: none was.
  uint64_t previous_sp_at = 0;
  // Where the CS that was interrupted stands: user space's (low bits 3) left no stack. 0: not saved
  // here.
  uint64_t previous_cs_at = 0;
};

class StackExtents {
 public:
  // All of `out`, or an error; the running kernel's memory.
  using Reader = absl::FunctionRef<absl::Status(uint64_t kva, absl::Span<uint8_t> out)>;

  static absl::StatusOr<StackExtents> Create(const KernelSymbols& symbols, uint64_t slide,
                                             Reader read, int cpus);

  // The stack that `sp` is in.
  StackExtent Find(uint64_t sp) const;
  uint64_t thread_size() const { return thread_size_; }
  // The stacks of CPUs, by address; for tests and reports.
  absl::Span<const StackExtent> cpu_stacks() const { return stacks_; }

 private:
  StackExtents() = default;

  uint64_t thread_size_ = 16 << 10;
  std::vector<StackExtent> stacks_;  // by begin
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_STACKS_STACK_EXTENTS_H_
