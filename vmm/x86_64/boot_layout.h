// Where the loader puts what a vCPU needs to start, in the first 128 KiB of guest memory. Linux
// reserves the first MiB for itself and copies all of this early; bare guests must leave
// [0, kBootAreaEnd) alone while they run on these tables.
#ifndef WATCHSNAP_VMM_X86_64_BOOT_LAYOUT_H_
#define WATCHSNAP_VMM_X86_64_BOOT_LAYOUT_H_

#include <cstdint>

namespace watchsnap::layout {

inline constexpr uint64_t kGdt = 0x500;
inline constexpr uint64_t kZeroPage = 0x7000;
inline constexpr uint64_t kPageTables = 0x9000;  // 7 pages
inline constexpr uint64_t kCommandLine = 0x1'0000;
inline constexpr uint64_t kCommandLineSpace = 0x1'0000;
inline constexpr uint64_t kBootAreaEnd = kCommandLine + kCommandLineSpace;

// The extended BIOS data area and the VGA hole: RAM that no PC has.
inline constexpr uint64_t kLowRamEnd = 0x9'fc00;
inline constexpr uint64_t kHighMemoryStart = 0x10'0000;

// Where a PC has its BIOS ROM; ours is the few bytes at the reset vector F000:FFF0. On
// hardware-reduced ACPI without EFI, Linux reboots by jumping there in real mode
// (efi_reboot_required() makes the EFI call its default, and real mode is what it falls back to).
inline constexpr uint64_t kSystemRom = 0xf'0000;
inline constexpr uint64_t kResetVector = 0xf'fff0;

}  // namespace watchsnap::layout

#endif  // WATCHSNAP_VMM_X86_64_BOOT_LAYOUT_H_
