// The register state in which a vCPU starts: 64-bit mode, flat segments, boot page tables.
//
// For Linux (Documentation/arch/x86/boot.rst, "64-bit boot protocol") only the boot CPU is set so;
// the others wait for the guest's INIT and SIPI. A bare guest has every vCPU set so, and made
// runnable (KVM_SET_MP_STATE: the in-kernel APIC keeps all but the first waiting for SIPI).
// The tables map [0, 4 GiB) to itself and [0, 1 GiB) again at 0xffffffff80000000, all writable and
// executable in supervisor mode. There is no IDT: an exception in a bare guest that loads none is a
// triple fault.
// Pure functions, any thread; WriteBootTables once, before vCPUs run. Sources: Intel SDM vol. 3
// §3.4 (segments), §4.5 (4-level paging), §10 (x87/SSE state), vol. 4 (MSRs).
#ifndef WATCHSNAP_VMM_X86_64_CPU_STATE_H_
#define WATCHSNAP_VMM_X86_64_CPU_STATE_H_

#include <linux/kvm.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/guest_memory.h"

namespace watchsnap {

// Where the first GiB of memory appears a second time: where Linux links its kernel.
inline constexpr uint64_t kHighMapBase = 0xffff'ffff'8000'0000;

// GDT and page tables, into [0, layout::kBootAreaEnd). LoadLinux has done it for Linux.
absl::Status WriteBootTables(const GuestMemory& memory);

// Turns the state read by KVM_GET_SREGS into 64-bit mode on the boot tables; keeps the APIC base.
void SetLongMode(kvm_sregs* sregs);

kvm_regs LinuxEntryRegs(const BootEntry& entry);

// A bare guest begins at `entry` with RSP = `stack` and RDI = `argument`, interrupts off. `entry`
// and `stack` are virtual addresses in either map.
kvm_regs BareGuestRegs(uint64_t entry, uint64_t stack, uint64_t argument);

// After reset: x87 control word and MXCSR with all exceptions masked.
kvm_fpu InitialFpu();

// What firmware leaves: fast strings on, memory type write-back where no MTRR says otherwise.
std::vector<kvm_msr_entry> InitialMsrs();

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_CPU_STATE_H_
