// MachineDebugTarget: what a debug plugin may do to a Machine.
//
// Threads and errors as DebugTarget says. Before Machine::Start the machine is frozen by itself:
// WhileFrozen then runs its task at once (on the thread that will call Start).
// Ownership: borrows the machine.
// WhileFrozen waits kFreezeDeadline for the vCPUs; then it fails and names those that did not park.
#ifndef WATCHSNAP_DEBUG_MACHINE_DEBUG_TARGET_H_
#define WATCHSNAP_DEBUG_MACHINE_DEBUG_TARGET_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "debug/debug_device.h"
#include "vmm/machine.h"

namespace watchsnap {

class MachineDebugTarget : public DebugTarget {
 public:
  static constexpr absl::Duration kFreezeDeadline = absl::Seconds(10);

  explicit MachineDebugTarget(Machine* machine) : machine_(machine) {}

  int vcpu_count() const override { return machine_->vcpu_count(); }
  absl::Status RunOnVcpu(int vcpu, std::function<absl::Status()> task) override;
  absl::Status SetGuestDebug(int vcpu, const kvm_guest_debug& debug) override;
  absl::StatusOr<kvm_debugregs> GetDebugRegs(int vcpu) override;
  absl::Status SetDebugRegs(int vcpu, const kvm_debugregs& regs) override;
  absl::Status WhileFrozen(std::function<absl::Status()> task) override;
  uint8_t* HostAddress(int vcpu, uint64_t kva, uint64_t length) override;
  const VcpuRegisters& Registers(int vcpu) override;
  void SaveRegisters(int vcpu) override;
  uint64_t GuestCounter(int vcpu) override { return machine_->guest_time().CounterAtExit(vcpu); }
  std::string_view WhyTimeIsNotHidden() override {
    return machine_->guest_time().why_not_hidden();
  }
  std::string FunctionAt(uint64_t pc) override;
  std::optional<uint64_t> GuestPhysical(int vcpu, uint64_t kva) override;
  uint8_t* HostOfPhysical(uint64_t gpa, uint64_t length) override;
  absl::Status SetReadOnlyPages(absl::Span<const uint64_t> pages) override;
  absl::Status SetHostProtected(absl::Span<const uint64_t> pages, bool on) override;
  absl::Status LeadFrozen(int vcpu, absl::FunctionRef<absl::Status()> task) override;
  absl::StatusOr<StepEnd> Step(int vcpu) override;
  bool GuestTraces(int vcpu) override { return machine_->vcpu(vcpu).GuestTraces(); }
  absl::Status GiveTrace(int vcpu) override { return machine_->vcpu(vcpu).GiveTrace(); }
  absl::Status DropQueuedException(int vcpu, uint8_t vector) override;

  // From here on FunctionAt has answers. `name_of` may be called from any thread, as long as this
  // target lives.
  void SetFunctionNames(std::function<std::string(uint64_t pc)> name_of);

 private:
  Machine* const machine_;
  absl::Mutex mutex_;
  std::function<std::string(uint64_t)> function_names_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_MACHINE_DEBUG_TARGET_H_
