// A stack as text and as function names, by the kernel's symbols.
//
//   tick_sched_timer+0x3c
//   hrtimer_interrupt+0xfd
//   asm_sysvec_apic_timer_interrupt+0x1a
//   --- interrupted ---
//   default_idle+0xf
//   …
//   [start of the CPU]
//
// Threads: any. Errors: none; an address without a function is written as a number.
#ifndef WATCHSNAP_DEBUG_STACKS_FORMAT_STACK_H_
#define WATCHSNAP_DEBUG_STACKS_FORMAT_STACK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "debug/stacks/stack_unwinder.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {

// "function+0x1f", the offset being that of the pc (of a caller: of its return address, as Linux
// prints).
std::string FormatFrame(const StackFrame& frame, const KernelSymbols& symbols, uint64_t slide);

// A line a frame, and the end in brackets.
std::string FormatStack(const UnwoundStack& stack, const KernelSymbols& symbols, uint64_t slide);

// Innermost first; "" where no function holds the address.
std::vector<std::string> FunctionNames(const UnwoundStack& stack, const KernelSymbols& symbols,
                                       uint64_t slide);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_STACKS_FORMAT_STACK_H_
