// BuildAcpiTables: describes the x86_64 machine to its guest, as a stock distribution kernel wants
// it.
//
// Hardware-reduced ACPI: no PM timer, no SCI, no PIT or PIC; power-off through the sleep control
// register and reboot through the reset register at layout::kAcpiPort. Tables: RSDP, XSDT, FADT,
// DSDT, MADT, MCFG; SRAT and SLIT with more than one NUMA node. PCI interrupts are MSI-X only.
// Threads: once, before any vCPU runs. Ownership: nothing is kept.
// Errors: InvalidArgument for a machine the tables cannot describe.
// Sources: ACPI 6.5 §5.2; PCI Firmware 3.3 §4.1 (MCFG, _OSC).
#ifndef WATCHSNAP_VMM_X86_64_ACPI_TABLES_H_
#define WATCHSNAP_VMM_X86_64_ACPI_TABLES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/boot/cpu_topology.h"
#include "vmm/guest_memory.h"

namespace watchsnap {

// RAM of one NUMA node; used only where there are several nodes.
struct AcpiMemory {
  uint64_t gpa = 0;
  uint64_t size = 0;
  int node = 0;
};

struct AcpiConfig {
  CpuTopology topology;
  std::vector<AcpiMemory> memory;
};

// Writes the tables into [layout::kAcpiBase, kSystemRom). Returns the GPA of the RSDP.
absl::StatusOr<uint64_t> BuildAcpiTables(const GuestMemory& memory, const AcpiConfig& config);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_ACPI_TABLES_H_
