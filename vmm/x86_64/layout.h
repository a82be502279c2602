// The guest-physical address map and port map of the x86_64 machine: the one place where the memory
// loader, the ACPI tables and the devices agree.
#ifndef WATCHSNAP_VMM_X86_64_LAYOUT_H_
#define WATCHSNAP_VMM_X86_64_LAYOUT_H_

#include <cstdint>

namespace watchsnap::layout {

// RAM is [0, kDeviceHoleStart) and [4 GiB, …).
inline constexpr uint64_t kDeviceHoleStart = 0xC000'0000;
// 32-bit PCI memory window, where BARs live.
inline constexpr uint64_t kPciMmioBase = 0xC000'0000;
inline constexpr uint64_t kPciMmioSize = 0x2000'0000;
// PCI Express enhanced configuration space (ECAM), one bus: 1 MiB. Described by MCFG and reserved in
// the DSDT.
inline constexpr uint64_t kPciEcamBase = 0xE000'0000;
inline constexpr uint64_t kPciEcamSize = 0x0010'0000;
// Fixed by the architecture (Intel SDM vol. 3, APIC chapter; 82093AA).
inline constexpr uint64_t kIoApicBase = 0xFEC0'0000;
inline constexpr uint64_t kLocalApicBase = 0xFEE0'0000;
// Three pages that KVM needs on Intel hosts (Documentation/virt/kvm/api.rst, KVM_SET_TSS_ADDR).
inline constexpr uint64_t kKvmIdentityMap = 0xFFFB'C000;
inline constexpr uint64_t kKvmTss = 0xFFFB'D000;

// Legacy area used by the loader.
inline constexpr uint64_t kAcpiBase = 0x000E'0000;  // RSDP is searched here; tables follow
inline constexpr uint64_t kAcpiSize = 0x0001'0000 * 2;

// Ports.
inline constexpr uint16_t kUartPort = 0x3F8;         // COM1
inline constexpr uint32_t kUartIrq = 4;
inline constexpr uint16_t kI8042CommandPort = 0x64;  // 0xFE pulses the reset line
inline constexpr uint16_t kPciConfigAddressPort = 0xCF8;
inline constexpr uint16_t kPciConfigDataPort = 0xCFC;
// Hardware-reduced ACPI: sleep control and status registers, and the reset register
// (ACPI 6.5 §4.8.3.7, §4.8.3.6). Devices map 8 bytes at kAcpiPort:
//   +0 sleep control (SLP_TYPx bits 2–4, SLP_EN bit 5), +1 sleep status, +2 reset (value 1).
inline constexpr uint16_t kAcpiPort = 0x600;
inline constexpr uint16_t kAcpiSleepControl = kAcpiPort + 0;
inline constexpr uint16_t kAcpiSleepStatus = kAcpiPort + 1;
inline constexpr uint16_t kAcpiReset = kAcpiPort + 2;
inline constexpr uint8_t kAcpiResetValue = 1;
inline constexpr uint8_t kAcpiSleepTypeS5 = 5;

}  // namespace watchsnap::layout

#endif  // WATCHSNAP_VMM_X86_64_LAYOUT_H_
