#include "debug/hw_watch/x86_64/reflect.h"

#include "debug/hw_watch/x86_64/debug_registers.h"

namespace watchsnap::x86_64 {

bool IsForGuest(const kvm_debug_exit_arch& exit) {
  if (exit.exception != kDebugException) return true;
  return (exit.dr6 & kDr6GuestBits) != 0 || (exit.dr6 & kDr6SlotBits) == 0;
}

absl::Status ReflectToGuest(DebugTarget& target, int vcpu, const kvm_debug_exit_arch& exit,
                            const kvm_guest_debug& ours) {
  kvm_guest_debug debug = ours;
  if (exit.exception == kBreakpointException) {
    debug.control |= KVM_GUESTDBG_INJECT_BP;
    return target.SetGuestDebug(vcpu, debug);
  }
  absl::StatusOr<kvm_debugregs> regs = target.GetDebugRegs(vcpu);
  if (!regs.ok()) return regs.status();
  // A debug exception clears B0–B3 and sets the bits of its cause; BD, BS and BT are never cleared
  // by the processor (SDM vol. 3B §17.2.3).
  regs->dr6 = (regs->dr6 & ~kDr6SlotBits) | (exit.dr6 & kDr6GuestBits);
  absl::Status status = target.SetDebugRegs(vcpu, *regs);
  if (!status.ok()) return status;
  debug.control |= KVM_GUESTDBG_INJECT_DB;
  return target.SetGuestDebug(vcpu, debug);
}

}  // namespace watchsnap::x86_64
