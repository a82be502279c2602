// Reads the tables back from guest memory as an operating system would: by signature, length and
// checksum, entry by entry.
#include "vmm/x86_64/acpi_tables.h"

#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/x86_64/boot_layout.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

template <typename T>
T Get(const std::string& bytes, size_t offset) {
  T value = {};
  EXPECT_LE(offset + sizeof value, bytes.size());
  if (offset + sizeof value <= bytes.size())
    std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

int Sum(const std::string& bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), 0,
                         [](int sum, char c) { return (sum + static_cast<uint8_t>(c)) & 0xff; });
}

class AcpiTables : public ::testing::Test {
 protected:
  void SetUp() override {
    auto memory = GuestMemory::Create(64 << 20, layout::kDeviceHoleStart);
    ASSERT_TRUE(memory.ok());
    memory_ = *std::move(memory);
  }

  std::string Bytes(uint64_t gpa, size_t size) {
    std::string bytes(size, '\0');
    EXPECT_GE(gpa, layout::kAcpiBase);
    EXPECT_LE(gpa + size, layout::kSystemRom);
    EXPECT_TRUE(
        memory_->Read(gpa, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), size)).ok());
    return bytes;
  }

  std::string Table(uint64_t gpa) {
    std::string table = Bytes(gpa, Get<uint32_t>(Bytes(gpa, 36), 4));
    EXPECT_EQ(Sum(table), 0) << table.substr(0, 4);
    return table;
  }

  // Builds, follows RSDP and XSDT, and returns the tables by signature.
  std::map<std::string, std::string> Build(const AcpiConfig& config) {
    auto rsdp_gpa = BuildAcpiTables(*memory_, config);
    EXPECT_TRUE(rsdp_gpa.ok()) << rsdp_gpa.status();
    if (!rsdp_gpa.ok()) return {};
    const std::string rsdp = Bytes(*rsdp_gpa, 36);
    EXPECT_EQ(rsdp.substr(0, 8), "RSD PTR ");
    EXPECT_EQ(Sum(rsdp.substr(0, 20)), 0);
    EXPECT_EQ(Sum(rsdp), 0);
    const std::string xsdt = Table(Get<uint64_t>(rsdp, 24));
    EXPECT_EQ(xsdt.substr(0, 4), "XSDT");
    EXPECT_EQ((xsdt.size() - 36) % 8, 0u);
    std::map<std::string, std::string> tables;
    for (size_t at = 36; at < xsdt.size(); at += 8) {
      const std::string table = Table(Get<uint64_t>(xsdt, at));
      tables[table.substr(0, 4)] = table;
    }
    tables["DSDT"] = Table(Get<uint64_t>(tables["FACP"], 140));
    return tables;
  }

  std::unique_ptr<GuestMemory> memory_;
};

TEST_F(AcpiTables, FadtNamesThePortsOfTheMachine) {
  const std::string fadt = Build({.topology = CpuTopology::Flat(2)})["FACP"];
  ASSERT_EQ(fadt.size(), 276u);
  EXPECT_TRUE(Get<uint32_t>(fadt, 112) & 1 << 20) << "hardware-reduced";
  EXPECT_TRUE(Get<uint32_t>(fadt, 112) & 1 << 10) << "reset register";
  const auto port = [&](size_t offset) {
    EXPECT_EQ(fadt[offset], 1) << "I/O space";
    EXPECT_EQ(fadt[offset + 1], 8) << "bits";
    return Get<uint64_t>(fadt, offset + 4);
  };
  EXPECT_EQ(port(116), layout::kAcpiReset);
  EXPECT_EQ(Get<uint8_t>(fadt, 128), layout::kAcpiResetValue);
  EXPECT_EQ(port(244), layout::kAcpiSleepControl);
  EXPECT_EQ(port(256), layout::kAcpiSleepStatus);
  EXPECT_EQ(Get<uint32_t>(fadt, 40), Get<uint64_t>(fadt, 140));
}

TEST_F(AcpiTables, MadtHasEveryCpuOnceAndTheIoApic) {
  for (int vcpus : {1, 2, 8, 64}) {
    const std::string madt = Build({.topology = CpuTopology::Flat(vcpus)})["APIC"];
    EXPECT_EQ(Get<uint32_t>(madt, 36), layout::kLocalApicBase);
    std::vector<int> ids;
    int io_apics = 0;
    for (size_t at = 44; at < madt.size();) {
      const auto type = Get<uint8_t>(madt, at), length = Get<uint8_t>(madt, at + 1);
      ASSERT_GE(length, 2);
      ASSERT_LE(at + length, madt.size());
      if (type == 0) {
        EXPECT_EQ(Get<uint8_t>(madt, at + 2), ids.size()) << "UID";
        EXPECT_EQ(Get<uint32_t>(madt, at + 4), 1u) << "enabled";
        ids.push_back(Get<uint8_t>(madt, at + 3));
      } else if (type == 1) {
        ++io_apics;
        EXPECT_EQ(Get<uint32_t>(madt, at + 4), layout::kIoApicBase);
        EXPECT_EQ(Get<uint32_t>(madt, at + 8), 0u);
      }
      at += length;
    }
    ASSERT_EQ(ids.size(), static_cast<size_t>(vcpus));
    for (int i = 0; i < vcpus; ++i) EXPECT_EQ(ids[static_cast<size_t>(i)], i);
    EXPECT_EQ(io_apics, 1);
  }
}

TEST_F(AcpiTables, McfgNamesTheConfigurationSpace) {
  const std::string mcfg = Build({.topology = CpuTopology::Flat(1)})["MCFG"];
  ASSERT_EQ(mcfg.size(), 60u);
  EXPECT_EQ(Get<uint64_t>(mcfg, 44), layout::kPciEcamBase);
  EXPECT_EQ(Get<uint8_t>(mcfg, 54), 0);
  EXPECT_EQ((Get<uint8_t>(mcfg, 55) + 1) * 0x10'0000u, layout::kPciEcamSize);
}

TEST_F(AcpiTables, OneNodeNeedsNoAffinityTables) {
  auto tables = Build({.topology = CpuTopology::Flat(4), .memory = {{0, 64 << 20, 0}}});
  EXPECT_EQ(tables.count("SRAT"), 0u);
  EXPECT_EQ(tables.count("SLIT"), 0u);
}

TEST_F(AcpiTables, NodesOwnTheirCpusAndMemory) {
  // Three cores per LLC take two bits of the APIC ID: IDs have gaps.
  const CpuTopology topology = {
      .numa_nodes = 2, .llcs_per_node = 1, .cores_per_llc = 3, .threads_per_core = 1};
  auto tables =
      Build({.topology = topology, .memory = {{0, 32 << 20, 0}, {32 << 20, 32 << 20, 1}}});
  const std::string srat = tables["SRAT"];
  std::vector<std::pair<int, int>> cpus;
  std::vector<std::pair<uint64_t, uint32_t>> memories;
  for (size_t at = 48; at < srat.size(); at += Get<uint8_t>(srat, at + 1)) {
    ASSERT_GE(Get<uint8_t>(srat, at + 1), 16);
    if (srat[at] == 0) cpus.emplace_back(Get<uint8_t>(srat, at + 3), Get<uint8_t>(srat, at + 2));
    if (srat[at] == 1)
      memories.emplace_back(Get<uint64_t>(srat, at + 8), Get<uint32_t>(srat, at + 2));
  }
  EXPECT_THAT(cpus, ::testing::ElementsAre(std::pair(0, 0), std::pair(1, 0), std::pair(2, 0),
                                           std::pair(4, 1), std::pair(5, 1), std::pair(6, 1)));
  EXPECT_THAT(memories, ::testing::ElementsAre(std::pair(0ull, 0u), std::pair(32ull << 20, 1u)));
  const std::string slit = tables["SLIT"];
  EXPECT_EQ(Get<uint64_t>(slit, 36), 2u);
  EXPECT_EQ(absl::BytesToHexString(slit.substr(44)), "0a14140a");
}

// A walk over the definition block: every package must end exactly where its parent does.
struct AmlWalker {
  const std::string& aml;
  std::vector<std::string> devices;

  size_t Length(size_t* at) {
    const auto lead = static_cast<uint8_t>(aml[*at]);
    const size_t start = *at, more = lead >> 6;
    size_t value = more == 0 ? lead : lead & 0xf;
    for (size_t i = 1; i <= more; ++i) {
      value |= static_cast<size_t>(static_cast<uint8_t>(aml[start + i])) << (8 * i - 4);
    }
    *at += more + 1;
    return start + value;  // where the package ends
  }
  std::string NameAt(size_t* at) {
    if (aml[*at] == '\\') ++*at;
    std::string name = aml.substr(*at, 4);
    *at += 4;
    return name;
  }
  // A data object or term list element at `at`; returns where it ends.
  size_t Term(size_t at, size_t end) {
    const auto op = static_cast<uint8_t>(aml[at++]);
    size_t inner_end;
    switch (op) {
      case 0x00:
      case 0x01:
        return at;
      case 0x0a:
        return at + 1;
      case 0x0b:
        return at + 2;
      case 0x0c:
        return at + 4;
      case 0x0d:
        return aml.find('\0', at) + 1;
      case 0x08:
        NameAt(&at);
        return Term(at, end);
      case 0x10:
        inner_end = Length(&at);
        NameAt(&at);
        return Terms(at, inner_end, end);
      case 0x5b:
        EXPECT_EQ(static_cast<uint8_t>(aml[at]), 0x82);
        inner_end = Length(&++at);
        devices.push_back(NameAt(&at));
        return Terms(at, inner_end, end);
      case 0x12:
        inner_end = Length(&at);
        return Terms(at + 1, inner_end, end);
      case 0x11:  // buffer: its size, then as many bytes
        inner_end = Length(&at);
        at = Term(at, inner_end);
        EXPECT_EQ(aml.substr(inner_end - 2, 2), std::string("\x79\0", 2)) << "end tag";
        return inner_end;
      case 0x14:  // method: its code is tested byte by byte in acpi_aml_test
        return Length(&at);
      default:
        ADD_FAILURE() << absl::StrFormat("opcode %#x at %d", op, at - 1);
        return end;
    }
  }
  size_t Terms(size_t at, size_t inner_end, size_t end) {
    EXPECT_LE(inner_end, end);
    while (at < inner_end) at = Term(at, inner_end);
    EXPECT_EQ(at, inner_end);
    return inner_end;
  }
};

TEST_F(AcpiTables, DsdtIsWellFormedAndHasTheDevices) {
  for (int vcpus : {1, 3, 64, 200}) {
    const std::string dsdt = Build({.topology = CpuTopology::Flat(vcpus)})["DSDT"];
    AmlWalker walker{dsdt, {}};
    walker.Terms(36, dsdt.size(), dsdt.size());
    EXPECT_THAT(walker.devices, ::testing::IsSupersetOf({"PCI0", "MBRD", "COM1", "C000"}));
    EXPECT_EQ(walker.devices.size(), 3u + static_cast<size_t>(vcpus));
    EXPECT_THAT(dsdt, HasSubstr("ACPI0007"));
  }
}

TEST_F(AcpiTables, RefusesWhatCannotBeDescribed) {
  EXPECT_EQ(BuildAcpiTables(*memory_, {.topology = CpuTopology::Flat(0)}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(BuildAcpiTables(*memory_, {.topology = {1, 1, -2, -2}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(BuildAcpiTables(*memory_, {.topology = {255, 255, 255, 255}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  // 5 × 5 × 5 CPUs fit, their APIC IDs of 3 + 3 + 3 bits do not.
  auto gaps = BuildAcpiTables(*memory_, {.topology = {5, 5, 5, 1}});
  EXPECT_THAT(gaps.status().message(), HasSubstr("powers of two"));
}

}  // namespace
}  // namespace watchsnap
