// The registers that a stack is unwound from: those that ORC entries refer to.
// Threads: a value. Units: as the processor has them.
#ifndef WATCHSNAP_DEBUG_STACKS_X86_64_UNWIND_REGISTERS_H_
#define WATCHSNAP_DEBUG_STACKS_X86_64_UNWIND_REGISTERS_H_

#include <cstdint>

#include "vmm/x86_64/registers.h"

namespace watchsnap {

struct UnwindRegisters {
  uint64_t pc = 0;
  uint64_t sp = 0;
  uint64_t bp = 0;
  uint64_t ax = 0;
  uint64_t dx = 0;
  uint64_t di = 0;
  uint64_t r10 = 0;
  uint64_t r13 = 0;
  bool user_mode = false;

  static UnwindRegisters From(const VcpuRegisters& vcpu) {
    return {.pc = vcpu.regs.rip,
            .sp = vcpu.regs.rsp,
            .bp = vcpu.regs.rbp,
            .ax = vcpu.regs.rax,
            .dx = vcpu.regs.rdx,
            .di = vcpu.regs.rdi,
            .r10 = vcpu.regs.r10,
            .r13 = vcpu.regs.r13,
            .user_mode = vcpu.user_mode()};
  }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_STACKS_X86_64_UNWIND_REGISTERS_H_
