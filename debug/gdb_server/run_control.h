// RunControl: what a debugger does to a machine beyond what a plugin may (DebugTarget): it keeps single
// vCPUs out of the guest for as long as a person thinks, and changes registers.
//
// MachineRunControl is that of a Machine. Threads: Hold and Release from any thread, a vCPU's included;
// they do not wait. The others on the vCPU's own thread (DebugTarget::RunOnVcpu).
// Ownership: borrows the machine. Errors: what KVM answered.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_RUN_CONTROL_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_RUN_CONTROL_H_

#include "absl/status/status.h"
#include "vmm/machine.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap::gdb {

class RunControl {
 public:
  virtual ~RunControl() = default;
  // A held vCPU comes out of the guest soon and stays out; freezes and tasks go on meanwhile. That it is
  // out, and its registers saved, is known after the next DebugTarget::WhileFrozen.
  virtual void Hold(int vcpu) = 0;
  virtual void Release(int vcpu) = 0;
  virtual absl::Status SetRegisters(int vcpu, const kvm_regs& regs) = 0;
  virtual absl::Status SetSpecialRegisters(int vcpu, const kvm_sregs& sregs) = 0;
};

class MachineRunControl : public RunControl {
 public:
  explicit MachineRunControl(Machine* machine) : machine_(*machine) {}

  void Hold(int vcpu) override { machine_.barrier().Hold(vcpu); }
  void Release(int vcpu) override { machine_.barrier().Release(vcpu); }
  absl::Status SetRegisters(int vcpu, const kvm_regs& regs) override {
    return machine_.vcpu(vcpu).SetRegisters(regs);
  }
  absl::Status SetSpecialRegisters(int vcpu, const kvm_sregs& sregs) override {
    return machine_.vcpu(vcpu).SetSpecialRegisters(sregs);
  }

 private:
  Machine& machine_;
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_RUN_CONTROL_H_
