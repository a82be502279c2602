// The DSDT's definition block: PCI host bridge, reserved addresses, COM1, CPUs, power-off.
// Pure function; its output goes behind a table header. See acpi_tables.h.
#ifndef WATCHSNAP_VMM_X86_64_ACPI_DSDT_H_
#define WATCHSNAP_VMM_X86_64_ACPI_DSDT_H_

#include <string>

#include "vmm/boot/cpu_topology.h"

namespace watchsnap {

std::string DsdtBody(const CpuTopology& topology);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_ACPI_DSDT_H_
