// Whether this host's KVM hands the guest's breakpoint instructions (INT3) to us when it is told to
// (KVM_GUESTDBG_USE_SW_BP). A KVM that interprets the guest, or an emulated processor, may accept that and
// give them to the guest all the same, whose kernel would take them for its own and die of them.
//
// Tried with a guest of one instruction, in milliseconds, once per process. Threads: any; not a vCPU's.
// Errors: what cannot be tried counts as not delivered.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_X86_64_BREAKPOINT_SELF_TEST_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_X86_64_BREAKPOINT_SELF_TEST_H_

namespace watchsnap::gdb {

bool BreakpointInstructionsAreDelivered();

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_X86_64_BREAKPOINT_SELF_TEST_H_
