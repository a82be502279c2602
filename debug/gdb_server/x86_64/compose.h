// One KVM_SET_GUEST_DEBUG out of two askers: a debug plugin (its watches) and a debugger (breakpoints,
// single step).
//
// Threads: pure function. Units: addresses are guest-virtual.
// Errors: ResourceExhausted where the plugin's watches and the breakpoints together want more debug
// address registers than there are. Nothing is ever overwritten.
// Source: Intel SDM vol. 3B §17.2 (R/W = 00 and LEN = 00: break on execution, before it);
// Documentation/virt/kvm/api.rst, KVM_SET_GUEST_DEBUG.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_X86_64_COMPOSE_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_X86_64_COMPOSE_H_

#include <linux/kvm.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap::gdb {

struct DebuggerWants {
  absl::Span<const uint64_t> breakpoints;  // addresses of execute breakpoints
  bool software_breakpoints = false;       // breakpoint instructions come to us, not to the guest
  bool step = false;
  bool block_interrupts = false;  // while stepping; KVM_GUESTDBG_BLOCKIRQ, where the host has it
};

struct ComposedDebug {
  kvm_guest_debug debug = {};
  uint32_t breakpoint_slots = 0;  // bit n: register n holds one of `breakpoints`
};

// Breakpoints get the registers that the plugin leaves free, from the last down; never the first, which
// is reserved for the exit-kind trigger. Injections that the plugin asks for are kept. Where the debugger
// wants nothing, the result is the plugin's own.
absl::StatusOr<ComposedDebug> ComposeGuestDebug(const kvm_guest_debug& plugin,
                                                const DebuggerWants& wants);

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_X86_64_COMPOSE_H_
