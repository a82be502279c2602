// Reflection: giving a debug exception that is not ours back to the guest, as if nobody had looked.
//
// While we watch, every #DB of the guest exits to us first: its own single steps (a debugger inside
// the guest, kprobes), ICEBP. The guest must see them exactly as on a machine without us:
// - its DR6 must say why (BS, BD, BT). KVM keeps the guest's DR6 apart from the exit's and does not
//   update it for an injected exception, so it is written first, with KVM_SET_DEBUGREGS;
// - the exception is queued by KVM_SET_GUEST_DEBUG with KVM_GUESTDBG_INJECT_DB (or _BP). The same
//   call sets the whole debug state, so it carries our watches too; otherwise it would disarm this
//   vCPU. The injection happens once, in that call: what stays queued is KVM's, and a later
//   KVM_SET_GUEST_DEBUG without the flag (an Arm before the guest runs on) does not undo it.
//
// The guest's own data breakpoints (DR0–3 written by the guest) cannot come here: while ours are in
// use the processor holds only ours, and the guest's read back but do not fire.
//
// Threads: on the vCPU's own thread, outside the guest. Does not allocate unless it fails.
#ifndef WATCHSNAP_DEBUG_HW_WATCH_X86_64_REFLECT_H_
#define WATCHSNAP_DEBUG_HW_WATCH_X86_64_REFLECT_H_

#include <linux/kvm.h>

#include "absl/status/status.h"
#include "debug/debug_device.h"

namespace watchsnap::x86_64 {

// Whether the exit is, or is also, the guest's: a breakpoint instruction; a debug exception with
// BS, BD or BT; or one that names no slot at all (ICEBP). An exit that names only slots we do not
// watch is nobody's: a hit that raced with its disarming.
bool IsForGuest(const kvm_debug_exit_arch& exit);

// `ours`: the debug state that this vCPU runs with, kept in force.
absl::Status ReflectToGuest(DebugTarget& target, int vcpu, const kvm_debug_exit_arch& exit,
                            const kvm_guest_debug& ours);

}  // namespace watchsnap::x86_64

#endif  // WATCHSNAP_DEBUG_HW_WATCH_X86_64_REFLECT_H_
