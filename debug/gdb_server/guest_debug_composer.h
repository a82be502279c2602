// GuestDebugComposer: the one place from which a machine's KVM_SET_GUEST_DEBUG comes when a debugger may
// attach. A vCPU has one such state; the debug plugin wants its watches in it, the debugger its breakpoints
// and single step. To the plugin this is the DebugTarget; what it sets is combined with what the debugger
// wants, and what the debugger wants later with what the plugin set last.
//
// Threads: as DebugTarget says. SetStep on the vCPU's own thread; AddBreakpoint, RemoveBreakpoint and
// InterceptBreakpointInstructions not on a vCPU's: they freeze; BreakpointSlots anywhere.
// Ownership: borrows the target below it.
// Errors: ResourceExhausted where watches and breakpoints want too many debug registers, to whoever came
// last; else what KVM answered. A failed change leaves every vCPU as it was.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_GUEST_DEBUG_COMPOSER_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_GUEST_DEBUG_COMPOSER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "debug/debug_device.h"

namespace watchsnap::gdb {

class GuestDebugComposer : public DebugTarget {
 public:
  // `can_block_interrupts`: the host has KVM_GUESTDBG_BLOCKIRQ. Without it a step with an interrupt
  // pending ends in the interrupt's handler.
  GuestDebugComposer(DebugTarget* target, bool can_block_interrupts)
      : target_(*target),
        can_block_interrupts_(can_block_interrupts),
        vcpus_(target->vcpu_count()) {}

  // The debugger's half. A breakpoint is one on execution, on every vCPU.
  absl::Status AddBreakpoint(uint64_t address);
  absl::Status RemoveBreakpoint(uint64_t address);
  // While on, the guest's own breakpoint instructions exit too and have to be given back.
  absl::Status InterceptBreakpointInstructions(bool on);
  // The next instruction of that vCPU ends in a debug exit with DR6.BS. To be set anew for each step.
  absl::Status SetStep(int vcpu, bool on);
  bool stepping(int vcpu) const;
  // Bit n: debug register n of that vCPU holds a breakpoint of the debugger's.
  uint32_t BreakpointSlots(int vcpu) const;

  // DebugTarget.
  int vcpu_count() const override { return target_.vcpu_count(); }
  absl::Status RunOnVcpu(int vcpu, std::function<absl::Status()> task) override {
    return target_.RunOnVcpu(vcpu, std::move(task));
  }
  absl::Status SetGuestDebug(int vcpu, const kvm_guest_debug& debug) override;
  absl::StatusOr<kvm_debugregs> GetDebugRegs(int vcpu) override {
    return target_.GetDebugRegs(vcpu);
  }
  absl::Status SetDebugRegs(int vcpu, const kvm_debugregs& regs) override {
    return target_.SetDebugRegs(vcpu, regs);
  }
  absl::Status WhileFrozen(std::function<absl::Status()> task) override {
    return target_.WhileFrozen(std::move(task));
  }
  uint8_t* HostAddress(int vcpu, uint64_t kva, uint64_t length) override {
    return target_.HostAddress(vcpu, kva, length);
  }
  const VcpuRegisters& Registers(int vcpu) override { return target_.Registers(vcpu); }
  void SaveRegisters(int vcpu) override { target_.SaveRegisters(vcpu); }
  uint64_t GuestCounter(int vcpu) override { return target_.GuestCounter(vcpu); }
  std::string_view WhyTimeIsNotHidden() override { return target_.WhyTimeIsNotHidden(); }
  std::string FunctionAt(uint64_t pc) override { return target_.FunctionAt(pc); }
  std::optional<uint64_t> GuestPhysical(int vcpu, uint64_t kva) override {
    return target_.GuestPhysical(vcpu, kva);
  }
  uint8_t* HostOfPhysical(uint64_t gpa, uint64_t length) override {
    return target_.HostOfPhysical(gpa, length);
  }
  absl::Status SetReadOnlyPages(absl::Span<const uint64_t> pages) override {
    return target_.SetReadOnlyPages(pages);
  }
  absl::Status SetHostProtected(absl::Span<const uint64_t> pages, bool on) override {
    return target_.SetHostProtected(pages, on);
  }
  absl::Status LeadFrozen(int vcpu, absl::FunctionRef<absl::Status()> task) override {
    return target_.LeadFrozen(vcpu, task);
  }
  // The vCPU keeps what was last set on it, both halves of it.
  absl::StatusOr<StepEnd> Step(int vcpu) override { return target_.Step(vcpu); }
  bool GuestTraces(int vcpu) override { return target_.GuestTraces(vcpu); }
  absl::Status GiveTrace(int vcpu) override { return target_.GiveTrace(vcpu); }
  absl::Status DropQueuedException(int vcpu, uint8_t vector) override {
    return target_.DropQueuedException(vcpu, vector);
  }

 private:
  struct VcpuState {
    kvm_guest_debug plugin = {};  // what the plugin set last, without injections
    bool step = false;
    uint32_t breakpoint_slots = 0;
  };
  // On the vCPU's own thread: sets `plugin` combined with the debugger's wishes.
  absl::Status Apply(int vcpu, const kvm_guest_debug& plugin, bool step);
  // Sets what all vCPUs run with anew, under a freeze; `undo` is run and they are set again if one refuses.
  absl::Status ApplyToAll(const std::function<void()>& undo);
  absl::Status Reapply(int vcpu);

  DebugTarget& target_;
  const bool can_block_interrupts_;
  // Held for a few memory accesses only: vCPU threads take it at debug exits.
  mutable absl::Mutex mutex_;
  std::vector<VcpuState> vcpus_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> breakpoints_ ABSL_GUARDED_BY(mutex_);
  bool intercept_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_GUEST_DEBUG_COMPOSER_H_
