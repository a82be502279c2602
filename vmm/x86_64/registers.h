// The register state that a vCPU saves when it parks (x86_64): general and special registers as KVM
// gives them (struct kvm_regs, kvm_sregs; Documentation/virt/kvm/api.rst §4.11, §4.13).
#ifndef WATCHSNAP_VMM_X86_64_REGISTERS_H_
#define WATCHSNAP_VMM_X86_64_REGISTERS_H_

#include <linux/kvm.h>

#include <cstdint>

namespace watchsnap {

struct VcpuRegisters {
  kvm_regs regs = {};
  kvm_sregs sregs = {};

  uint64_t pc() const { return regs.rip; }
  uint64_t sp() const { return regs.rsp; }
  // The current privilege level is the requested privilege level of SS (SDM vol. 3 §5.5).
  bool user_mode() const { return (sregs.ss.selector & 3) == 3; }

  // Calls visit(name, value) for each register worth a line in a report.
  template <typename Visitor>
  void ForEach(Visitor&& visit) const {
    visit("rip", regs.rip);
    visit("rflags", regs.rflags);
    visit("rax", regs.rax);
    visit("rbx", regs.rbx);
    visit("rcx", regs.rcx);
    visit("rdx", regs.rdx);
    visit("rsi", regs.rsi);
    visit("rdi", regs.rdi);
    visit("rsp", regs.rsp);
    visit("rbp", regs.rbp);
    visit("r8", regs.r8);
    visit("r9", regs.r9);
    visit("r10", regs.r10);
    visit("r11", regs.r11);
    visit("r12", regs.r12);
    visit("r13", regs.r13);
    visit("r14", regs.r14);
    visit("r15", regs.r15);
    visit("cr0", sregs.cr0);
    visit("cr2", sregs.cr2);
    visit("cr3", sregs.cr3);
    visit("cr4", sregs.cr4);
    visit("efer", sregs.efer);
    visit("fs_base", sregs.fs.base);
    visit("gs_base", sregs.gs.base);
    visit("cs", sregs.cs.selector);
    visit("ss", sregs.ss.selector);
  }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_REGISTERS_H_
