// The x86_64 debug registers as hw_watch uses them: what to hand to KVM_SET_GUEST_DEBUG for a set
// of write watches, and what the bits of an exit's DR6 mean.
//
// Threads: pure functions. Errors: none; callers have validated length and alignment.
// Source: Intel SDM vol. 3B, §17.2 "Debug Registers" (figure 17-1 and §17.2.3 to §17.2.5); KVM's
// side: Documentation/virt/kvm/api.rst, KVM_SET_GUEST_DEBUG.
#ifndef WATCHSNAP_DEBUG_HW_WATCH_X86_64_DEBUG_REGISTERS_H_
#define WATCHSNAP_DEBUG_HW_WATCH_X86_64_DEBUG_REGISTERS_H_

#include <linux/kvm.h>

#include <array>
#include <cstdint>

namespace watchsnap::x86_64 {

inline constexpr int kDebugSlots = 4;

// DR6. Bits 0–3 name the slots whose condition was met, whether or not they are enabled.
inline constexpr uint64_t kDr6SlotBits = 0xf;
inline constexpr uint64_t kDr6DebugAccess = 1u << 13;  // BD
inline constexpr uint64_t kDr6SingleStep = 1u << 14;   // BS
inline constexpr uint64_t kDr6TaskSwitch = 1u << 15;   // BT
inline constexpr uint64_t kDr6GuestBits = kDr6DebugAccess | kDr6SingleStep | kDr6TaskSwitch;

// DR7.
inline constexpr uint64_t kDr7Fixed = 1u << 10;  // always 1

// Exception vectors (SDM vol. 3A, table 6-1).
inline constexpr uint32_t kDebugException = 1;
inline constexpr uint32_t kBreakpointException = 3;

struct DebugSlot {
  uint64_t address = 0;
  uint32_t length = 0;  // 1, 2, 4 or 8; 0: the slot is not used
};
using DebugSlots = std::array<DebugSlot, kDebugSlots>;

constexpr bool IsWatchLength(uint32_t length) {
  return length == 1 || length == 2 || length == 4 || length == 8;
}

// The bits of DR7 that make slot `slot` trap on writes of `length` bytes: L and G, R/W = 01, LEN.
constexpr uint64_t Dr7WriteWatch(int slot, uint32_t length) {
  // LEN is 00, 01, 11, 10 for 1, 2, 4 and 8 bytes: 8 was added last.
  const uint64_t len = length == 8 ? 2 : length - 1;
  return (uint64_t{3} << (2 * slot)) | (uint64_t{1} << (16 + 4 * slot)) | (len << (18 + 4 * slot));
}

// With no slot in use: guest debugging off, so that the guest's own debug registers work again.
constexpr kvm_guest_debug GuestDebugFor(const DebugSlots& slots) {
  kvm_guest_debug debug = {};
  for (int i = 0; i < kDebugSlots; ++i) {
    if (slots[i].length == 0) continue;
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    debug.arch.debugreg[i] = slots[i].address;
    debug.arch.debugreg[7] |= kDr7Fixed | Dr7WriteWatch(i, slots[i].length);
  }
  return debug;
}

}  // namespace watchsnap::x86_64

#endif  // WATCHSNAP_DEBUG_HW_WATCH_X86_64_DEBUG_REGISTERS_H_
