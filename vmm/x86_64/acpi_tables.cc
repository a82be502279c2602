#include "vmm/x86_64/acpi_tables.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "vmm/x86_64/acpi_dsdt.h"
#include "vmm/x86_64/boot_layout.h"
#include "vmm/x86_64/cpuid_apic_id.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

constexpr size_t kHeaderSize = 36;
constexpr size_t kAlignment = 16;
constexpr uint32_t kMaxApicId = 254;  // 255 is the broadcast address of an 8-bit APIC ID

// A table under construction: fields are appended or set at their offsets in the specification.
class Table {
 public:
  Table(std::string_view signature, int revision) : bytes_(kHeaderSize, '\0') {
    bytes_.replace(0, 4, signature);
    bytes_[8] = static_cast<char>(revision);
    bytes_.replace(10, 6, "WTCHSN");
    bytes_.replace(16, 8, "WATCHSNP");
    Set<uint32_t>(24, 1);
    bytes_.replace(28, 4, "WSNP");
    Set<uint32_t>(32, 1);
  }

  template <typename T>
  Table& Add(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Table& AddBytes(std::string_view bytes) {
    bytes_.append(bytes);
    return *this;
  }
  template <typename T>
  Table& Set(size_t offset, T value) {
    if (bytes_.size() < offset + sizeof value) bytes_.resize(offset + sizeof value);
    std::memcpy(&bytes_[offset], &value, sizeof value);
    return *this;
  }
  // A generic address of one byte in I/O space (ACPI 6.5 §5.2.3.2).
  Table& SetPort(size_t offset, uint16_t port) {
    constexpr uint8_t kSystemIo = 1, kByteAccess = 1;
    return Set<uint8_t>(offset, kSystemIo)
        .Set<uint8_t>(offset + 1, 8)
        .Set<uint8_t>(offset + 2, 0)
        .Set<uint8_t>(offset + 3, kByteAccess)
        .Set<uint64_t>(offset + 4, port);
  }

  std::string Finish() {
    Set<uint32_t>(4, static_cast<uint32_t>(bytes_.size()));
    bytes_[9] = static_cast<char>(-std::accumulate(bytes_.begin(), bytes_.end(), 0));
    return bytes_;
  }

 private:
  std::string bytes_;
};

// ACPI 6.5 §5.2.9, table 5.9.
std::string Fadt(uint64_t dsdt) {
  constexpr uint32_t kWbinvd = 1 << 0, kC1Supported = 1 << 2, kNoFixedPowerButton = 1 << 4,
                     kNoFixedSleepButton = 1 << 5, kResetRegister = 1 << 10,
                     kHardwareReduced = 1 << 20;
  constexpr uint16_t kNoVga = 1 << 2, kNoCmosClock = 1 << 5;  // and no legacy devices, no 8042
  constexpr size_t kSize = 276;
  return Table("FACP", 6)
      .Set<uint32_t>(40, static_cast<uint32_t>(dsdt))
      .Set<uint16_t>(109, kNoVga | kNoCmosClock)
      .Set<uint32_t>(112, kWbinvd | kC1Supported | kNoFixedPowerButton | kNoFixedSleepButton |
                              kResetRegister | kHardwareReduced)
      .SetPort(116, layout::kAcpiReset)
      .Set<uint8_t>(128, layout::kAcpiResetValue)
      .Set<uint8_t>(131, 5)  // minor version: 6.5
      .Set<uint64_t>(140, dsdt)
      .SetPort(244, layout::kAcpiSleepControl)
      .SetPort(256, layout::kAcpiSleepStatus)
      .Set<uint64_t>(kSize - 8, 0)  // hypervisor vendor: none
      .Finish();
}

// §5.2.12.
std::string Madt(const CpuTopology& topology) {
  constexpr uint8_t kLocalApic = 0, kIoApic = 1, kLocalApicNmi = 4, kAllCpus = 0xff, kLint1 = 1;
  Table table("APIC", 5);
  table.Add<uint32_t>(static_cast<uint32_t>(layout::kLocalApicBase)).Add<uint32_t>(0);
  for (int i = 0; i < topology.vcpus(); ++i) {
    table.Add<uint8_t>(kLocalApic)
        .Add<uint8_t>(8)
        .Add<uint8_t>(static_cast<uint8_t>(i))
        .Add<uint8_t>(static_cast<uint8_t>(ApicId(topology, i)))
        .Add<uint32_t>(1);  // enabled
  }
  table.Add<uint8_t>(kIoApic)
      .Add<uint8_t>(12)
      .Add<uint8_t>(0)  // the ID of KVM's I/O APIC after reset
      .Add<uint8_t>(0)
      .Add<uint32_t>(static_cast<uint32_t>(layout::kIoApicBase))
      .Add<uint32_t>(0);  // first global interrupt
  table.Add<uint8_t>(kLocalApicNmi).Add<uint8_t>(6).Add(kAllCpus).Add<uint16_t>(0).Add(kLint1);
  return table.Finish();
}

// PCI Firmware 3.3 §4.1.2. One bus for each MiB.
std::string Mcfg() {
  return Table("MCFG", 1)
      .Add<uint64_t>(0)
      .Add<uint64_t>(layout::kPciEcamBase)
      .Add<uint16_t>(0)  // segment
      .Add<uint8_t>(0)
      .Add<uint8_t>(layout::kPciEcamSize / 0x10'0000 - 1)
      .Add<uint32_t>(0)
      .Finish();
}

// §5.2.16.
std::string Srat(const AcpiConfig& config) {
  constexpr uint8_t kProcessor = 0, kMemory = 1;
  constexpr uint32_t kEnabled = 1;
  Table table("SRAT", 3);
  table.Add<uint32_t>(1).Add<uint64_t>(0);
  for (int i = 0; i < config.topology.vcpus(); ++i) {
    table.Add(kProcessor)
        .Add<uint8_t>(16)
        .Add<uint8_t>(static_cast<uint8_t>(config.topology.node_of(i)))
        .Add<uint8_t>(static_cast<uint8_t>(ApicId(config.topology, i)))
        .Add(kEnabled)
        .Add<uint64_t>(0);  // SAPIC EID, the domain's upper bits, clock domain
  }
  for (const AcpiMemory& memory : config.memory) {
    table.Add(kMemory)
        .Add<uint8_t>(40)
        .Add<uint32_t>(static_cast<uint32_t>(memory.node))
        .Add<uint16_t>(0)
        .Add<uint64_t>(memory.gpa)
        .Add<uint64_t>(memory.size)
        .Add<uint32_t>(0)
        .Add(kEnabled)
        .Add<uint64_t>(0);
  }
  return table.Finish();
}

// §5.2.17.
std::string Slit(int nodes) {
  constexpr uint8_t kLocal = 10, kRemote = 20;
  Table table("SLIT", 1);
  table.Add<uint64_t>(static_cast<uint64_t>(nodes));
  for (int from = 0; from < nodes; ++from) {
    for (int to = 0; to < nodes; ++to) table.Add(from == to ? kLocal : kRemote);
  }
  return table.Finish();
}

// §5.2.5.3.
std::string Rsdp(uint64_t xsdt) {
  std::string rsdp(36, '\0');
  rsdp.replace(0, 8, "RSD PTR ");
  rsdp.replace(9, 6, "WTCHSN");
  rsdp[15] = 2;  // revision
  rsdp[20] = 36;
  std::memcpy(&rsdp[24], &xsdt, sizeof xsdt);
  rsdp[8] = static_cast<char>(-std::accumulate(rsdp.begin(), rsdp.begin() + 20, 0));
  rsdp[32] = static_cast<char>(-std::accumulate(rsdp.begin(), rsdp.end(), 0));
  return rsdp;
}

absl::Status Validate(const AcpiConfig& config) {
  const CpuTopology& topology = config.topology;
  if (topology.numa_nodes < 1 || topology.llcs_per_node < 1 || topology.cores_per_llc < 1 ||
      topology.threads_per_core < 1 || topology.numa_nodes > 255 || topology.llcs_per_node > 255 ||
      topology.cores_per_llc > 255 || topology.threads_per_core > 255) {
    return absl::InvalidArgumentError(
        absl::StrCat("topology of ", topology.numa_nodes, " nodes, ", topology.llcs_per_node,
                     " LLCs, ", topology.cores_per_llc, " cores, ", topology.threads_per_core,
                     " threads: each count must be 1 to 255"));
  }
  const int64_t vcpus = int64_t{topology.vcpus_per_node()} * topology.numa_nodes;
  if (vcpus > kMaxApicId || ApicId(topology, topology.vcpus() - 1) > kMaxApicId) {
    return absl::InvalidArgumentError(
        absl::StrCat("topology of ", vcpus, " vCPUs needs APIC IDs past ", kMaxApicId,
                     "; use fewer vCPUs or counts that are powers of two"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<uint64_t> BuildAcpiTables(const GuestMemory& memory, const AcpiConfig& config) {
  absl::Status status = Validate(config);
  if (!status.ok()) return status;

  uint64_t next = layout::kAcpiBase + 64;  // behind the RSDP
  const uint64_t end = layout::kSystemRom;
  const auto place = [&](const std::string& bytes) -> absl::StatusOr<uint64_t> {
    const uint64_t gpa = next;
    if (bytes.size() > end - gpa) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the ACPI tables do not fit in ", end - layout::kAcpiBase, " bytes; use fewer vCPUs"));
    }
    next = std::min<uint64_t>(end, gpa + (bytes.size() + kAlignment - 1) / kAlignment * kAlignment);
    absl::Status written = memory.Write(
        gpa, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
    if (!written.ok()) return written;
    return gpa;
  };

  absl::StatusOr<uint64_t> dsdt =
      place(Table("DSDT", 2).AddBytes(DsdtBody(config.topology)).Finish());
  if (!dsdt.ok()) return dsdt.status();
  std::vector<std::string> tables = {Fadt(*dsdt), Madt(config.topology), Mcfg()};
  if (config.topology.numa_nodes > 1) {
    tables.push_back(Srat(config));
    tables.push_back(Slit(config.topology.numa_nodes));
  }
  Table xsdt("XSDT", 1);
  for (const std::string& table : tables) {
    absl::StatusOr<uint64_t> gpa = place(table);
    if (!gpa.ok()) return gpa.status();
    xsdt.Add<uint64_t>(*gpa);
  }
  absl::StatusOr<uint64_t> xsdt_gpa = place(xsdt.Finish());
  if (!xsdt_gpa.ok()) return xsdt_gpa.status();

  const std::string rsdp = Rsdp(*xsdt_gpa);
  status =
      memory.Write(layout::kAcpiBase,
                   absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(rsdp.data()), rsdp.size()));
  if (!status.ok()) return status;
  return layout::kAcpiBase;
}

}  // namespace watchsnap
