#include "vmm/x86_64/acpi_dsdt.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vmm/x86_64/acpi_aml.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

constexpr uint64_t kPresentAndWorking = 0xf;  // _STA, ACPI 6.5 §6.3.7
constexpr uint8_t kUartPorts = 8;
constexpr uint8_t kAcpiPorts = 8;
constexpr uint8_t kPciConfigPorts = 8;
constexpr uint16_t kFirstPciPort = 0x1000;  // past all ISA ports

std::string PciHostBridge() {
  using namespace aml;  // NOLINT: a table of terms
  return Device(
      "PCI0",
      Name("_HID", EisaId("PNP0A08")) + Name("_CID", EisaId("PNP0A03")) + Name("_UID", Integer(0)) +
          Name("_SEG", Integer(0)) + Name("_BBN", Integer(0)) +
          Name("_CRS", ResourceTemplate(absl::StrCat(
                           BusWindow(0, 0), Io(layout::kPciConfigAddressPort, kPciConfigPorts),
                           IoWindow(kFirstPciPort, 0xffff),
                           MemoryWindow(static_cast<uint32_t>(layout::kPciMmioBase),
                                        static_cast<uint32_t>(layout::kPciMmioBase +
                                                              layout::kPciMmioSize - 1))))) +
          // No interrupt pins: MSI-X only.
          Name("_PRT", Package({})) +
          // Grants whatever control the system asks for: there is nothing that would use it.
          Method("_OSC", 4, ReturnArgument(3)));
}

std::string ReservedAddresses() {
  using namespace aml;  // NOLINT
  return Device("MBRD",
                Name("_HID", EisaId("PNP0C02")) + Name("_UID", Integer(0)) +
                    Name("_CRS", ResourceTemplate(absl::StrCat(
                                     FixedMemory(static_cast<uint32_t>(layout::kPciEcamBase),
                                                 static_cast<uint32_t>(layout::kPciEcamSize)),
                                     Io(layout::kAcpiPort, kAcpiPorts)))));
}

std::string SerialPort() {
  using namespace aml;  // NOLINT
  return Device("COM1", Name("_HID", EisaId("PNP0501")) + Name("_UID", Integer(0)) +
                            Name("_STA", Integer(kPresentAndWorking)) +
                            Name("_CRS", ResourceTemplate(Io(layout::kUartPort, kUartPorts) +
                                                          EdgeInterrupt(layout::kUartIrq))));
}

std::string Cpus(const CpuTopology& topology) {
  using namespace aml;  // NOLINT
  std::string cpus;
  for (int i = 0; i < topology.vcpus(); ++i) {
    std::string body = Name("_HID", String("ACPI0007")) +
                       Name("_UID", Integer(static_cast<uint64_t>(i))) +
                       Name("_STA", Integer(kPresentAndWorking));
    if (topology.numa_nodes > 1) {
      body += Name("_PXM", Integer(static_cast<uint64_t>(topology.node_of(i))));
    }
    cpus += Device(absl::StrFormat("C%03X", i), body);
  }
  return cpus;
}

}  // namespace

std::string DsdtBody(const CpuTopology& topology) {
  using namespace aml;  // NOLINT
  return Scope("\\_SB",
               absl::StrCat(PciHostBridge(), ReservedAddresses(), SerialPort(), Cpus(topology))) +
         Name("\\_S5",
              Package({Integer(layout::kAcpiSleepTypeS5), Integer(0), Integer(0), Integer(0)}));
}

}  // namespace watchsnap
