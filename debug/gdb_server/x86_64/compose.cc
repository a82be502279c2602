#include "debug/gdb_server/x86_64/compose.h"

#include "absl/strings/str_cat.h"
#include "debug/hw_watch/x86_64/debug_registers.h"

namespace watchsnap::gdb {
namespace {

using ::watchsnap::x86_64::kDebugSlots;

constexpr int kFirstSlot = 1;

// L and G of slot `slot` in DR7.
constexpr uint64_t EnableBits(int slot) { return uint64_t{3} << (2 * slot); }

bool UsedByPlugin(const kvm_guest_debug& plugin, int slot) {
  return (plugin.control & KVM_GUESTDBG_USE_HW_BP) != 0 &&
         (plugin.arch.debugreg[7] & EnableBits(slot)) != 0;
}

}  // namespace

absl::StatusOr<ComposedDebug> ComposeGuestDebug(const kvm_guest_debug& plugin,
                                                const DebuggerWants& wants) {
  ComposedDebug composed;
  composed.debug = plugin;
  kvm_guest_debug& debug = composed.debug;
  int slot = kDebugSlots - 1;
  for (uint64_t address : wants.breakpoints) {
    while (slot >= kFirstSlot && UsedByPlugin(plugin, slot)) --slot;
    if (slot < kFirstSlot) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the processor has no debug register for each of the watches and the ",
          wants.breakpoints.size(), " hardware breakpoints of the debugger that is attached: of its ",
          kDebugSlots, " the first is reserved; remove a breakpoint or a watch first"));
    }
    debug.arch.debugreg[slot] = address;
    debug.arch.debugreg[7] |= x86_64::kDr7Fixed | EnableBits(slot);
    debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    composed.breakpoint_slots |= 1u << slot;
    --slot;
  }
  if (wants.software_breakpoints) debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
  if (wants.step) {
    debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    if (wants.block_interrupts) debug.control |= KVM_GUESTDBG_BLOCKIRQ;
  }
  return composed;
}

}  // namespace watchsnap::gdb
