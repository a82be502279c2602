#include "vmm/x86_64/cpuid.h"

#include <optional>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "vmm/x86_64/cpuid_apic_id.h"

namespace watchsnap {
namespace {

constexpr uint32_t kIndexed = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

kvm_cpuid_entry2 Entry(uint32_t function, uint32_t index, uint32_t flags, uint32_t eax,
                       uint32_t ebx, uint32_t ecx, uint32_t edx) {
  kvm_cpuid_entry2 entry = {};
  entry.function = function;
  entry.index = index;
  entry.flags = flags;
  entry.eax = eax;
  entry.ebx = ebx;
  entry.ecx = ecx;
  entry.edx = edx;
  return entry;
}

// A host with every feature bit set, so that what is taken away shows.
std::vector<kvm_cpuid_entry2> Supported(bool amd) {
  const uint32_t all = 0xffff'ffff;
  return {
      Entry(0, 0, 0, 0x20, amd ? 0x6874'7541 : 0x756e'6547, 0, 0),
      Entry(1, 0, 0, 0x663, 0x5500'0800, all, all),
      Entry(4, 0, kIndexed, 0x121, 0, 63, 0),  // L1 data
      Entry(4, 3, kIndexed, 0x163, 0, 63, 0),  // L3
      Entry(4, 4, kIndexed, 0, 0, 0, 0),
      Entry(7, 0, kIndexed, 1, all, all, all),
      Entry(7, 1, kIndexed, all, 0, 0, 0),
      Entry(0xa, 0, 0, 0x0830'0801, 0, 0, 0x603),
      Entry(0xb, 0, kIndexed, 9, 9, 9, 9),
      Entry(0xd, 0, kIndexed, 7, 0x340, 0x340, 0),
      Entry(0x12, 0, kIndexed, 1, 0, 0, 0),
      Entry(0x1f, 0, kIndexed, 9, 9, 9, 9),
      Entry(0x4000'0000, 0, 0, 0x4000'0001, 0x4b4d'564b, 0x564b'4d56, 0x4d),
      Entry(0x4000'0001, 0, 0, 0x0100'3fff, 0, 0, 0),
      Entry(0x8000'0000, 0, 0, 0x8000'001f, 0, 0, 0),
      Entry(0x8000'0001, 0, 0, 0, 0, all, all),
      Entry(0x8000'0008, 0, 0, 0x3028, 0, 0xff, 0),
      Entry(0x8000'000a, 0, 0, 1, 8, 0, all),
      Entry(0x8000'001d, 3, kIndexed, 0x163, 0, 0, 0),
      Entry(0x8000'001e, 0, 0, 99, 99, 99, 99),
  };
}

std::optional<kvm_cpuid_entry2> Find(const std::vector<kvm_cpuid_entry2>& entries,
                                     uint32_t function, uint32_t index = 0) {
  std::optional<kvm_cpuid_entry2> found;
  for (const kvm_cpuid_entry2& entry : entries) {
    if (entry.function != function || entry.index != index) continue;
    EXPECT_FALSE(found) << std::hex << function << " twice";
    found = entry;
  }
  return found;
}

TEST(GuestCpuid, TakesAwayWhatAGuestMustNotUse) {
  for (bool amd : {false, true}) {
    const auto guest = GuestCpuid(Supported(amd), {.topology = CpuTopology::Flat(1)}, 0);
    EXPECT_FALSE(Find(guest, 1)->ecx & 1 << 5) << "VMX";
    EXPECT_FALSE(Find(guest, 0x8000'0001)->ecx & 1 << 2) << "SVM";
    EXPECT_FALSE(Find(guest, 7, 1)->eax & 1 << 17) << "FRED";
    EXPECT_FALSE(Find(guest, 7)->ebx & 1 << 2) << "SGX";
    EXPECT_EQ(Find(guest, 0xa)->eax, 0u) << "PMU";
    EXPECT_FALSE(Find(guest, 0x12));
    EXPECT_FALSE(Find(guest, 0x8000'000a));
    EXPECT_FALSE(Find(guest, 0x15)) << "no frequency is known";
    // What is not named stays.
    EXPECT_EQ(Find(guest, 0xd)->ebx, 0x340u);
    EXPECT_EQ(Find(guest, 0x4000'0001)->eax, 0x0100'3fffu);
    EXPECT_EQ(Find(guest, 7, 1)->eax | 1 << 17 | 1 << 8, 0xffff'ffffu);
  }
}

TEST(GuestCpuid, TscDeadlineOnlyWhereKvmHasIt) {
  CpuidOptions options = {.topology = CpuTopology::Flat(1)};
  EXPECT_FALSE(Find(GuestCpuid(Supported(true), options, 0), 1)->ecx & 1 << 24);
  options.tsc_deadline = true;
  EXPECT_TRUE(Find(GuestCpuid(Supported(true), options, 0), 1)->ecx & 1 << 24);
  EXPECT_TRUE(Find(GuestCpuid(Supported(true), options, 0), 1)->ecx >> 31) << "hypervisor";
}

TEST(GuestCpuid, FrequenciesGiveBackTheTsc) {
  const CpuidOptions options = {.topology = CpuTopology::Flat(1), .tsc_khz = 2'596'078};
  const auto guest = GuestCpuid(Supported(false), options, 0);
  const auto clock = Find(guest, 0x15);
  ASSERT_TRUE(clock);
  EXPECT_EQ(uint64_t{clock->ecx} * clock->ebx / clock->eax, 2'596'078'000u);
  EXPECT_EQ(Find(guest, 0x4000'0010)->eax, 2'596'078u);
  EXPECT_GE(Find(guest, 0x4000'0000)->eax, 0x4000'0010u);
}

TEST(GuestCpuid, EveryVcpuHasItsOwnIdInEveryLeafThatTellsIt) {
  const CpuTopology topologies[] = {CpuTopology::Flat(1),
                                    CpuTopology::Flat(2),
                                    CpuTopology::Flat(64),
                                    {2, 2, 2, 2},
                                    {2, 1, 3, 2}};
  for (const CpuTopology& topology : topologies) {
    std::set<uint32_t> ids;
    for (int i = 0; i < topology.vcpus(); ++i) {
      const auto guest = GuestCpuid(Supported(true), {.topology = topology}, i);
      const uint32_t id = ApicId(topology, i);
      EXPECT_TRUE(ids.insert(id).second);
      EXPECT_EQ(Find(guest, 1)->ebx >> 24, id);
      EXPECT_EQ(Find(guest, 0xb, 0)->edx, id);
      EXPECT_EQ(Find(guest, 0xb, 1)->edx, id);
      EXPECT_EQ(Find(guest, 0x1f, 1)->edx, id);
      EXPECT_EQ(Find(guest, 0x8000'001e)->eax, id);
      // Shifting the ID as leaf 0xB says yields the package, here one for each node.
      EXPECT_EQ(id >> Find(guest, 0xb, 1)->eax, static_cast<uint32_t>(topology.node_of(i)));
      EXPECT_EQ(Find(guest, 0xb, 1)->ebx, static_cast<uint32_t>(topology.vcpus_per_node()));
      EXPECT_EQ((Find(guest, 1)->edx >> 28 & 1) != 0, topology.vcpus_per_node() > 1);
    }
  }
}

TEST(GuestCpuid, FlatTopologyNumbersApicIdsLikeVcpus) {
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(ApicId(CpuTopology::Flat(64), i), static_cast<uint32_t>(i));
}

TEST(GuestCpuid, CachesAreSharedAsTheTopologySays) {
  const CpuTopology topology = {
      .numa_nodes = 1, .llcs_per_node = 2, .cores_per_llc = 4, .threads_per_core = 2};
  const auto guest = GuestCpuid(Supported(false), {.topology = topology}, 3);
  const auto sharing = [](const kvm_cpuid_entry2& entry) { return (entry.eax >> 14 & 0xfff) + 1; };
  EXPECT_EQ(sharing(*Find(guest, 4, 0)), 2u);
  EXPECT_EQ(sharing(*Find(guest, 4, 3)), 8u);
  EXPECT_EQ(sharing(*Find(guest, 0x8000'001d, 3)), 8u);
  EXPECT_EQ(Find(guest, 4, 4)->eax, 0u) << "the end of the list stays";
  EXPECT_EQ(Find(guest, 0xb, 0)->eax, 1u);
  EXPECT_EQ(Find(guest, 0xb, 0)->ebx, 2u);
}

uint32_t Sharing(const kvm_cpuid_entry2& entry) { return (entry.eax >> 14 & 0xfff) + 1; }

TEST(GuestCpuid, AmdTopologyIsCompleteWhereTheHostHasNone) {
  // As QEMU's emulation: family 6, no topology extensions, extended leaves up to SVM's.
  const std::vector<kvm_cpuid_entry2> host = {
      Entry(0, 0, 0, 0xd, 0x6874'7541, 0, 0),       Entry(1, 0, 0, 0x663, 0, 0, 0),
      Entry(0x8000'0000, 0, 0, 0x8000'000a, 0, 0, 0), Entry(0x8000'0001, 0, 0, 0, 0, 0, 0),
      Entry(0x8000'0006, 0, 0, 0, 0, 0, 0),         Entry(0x8000'0008, 0, 0, 0x3028, 0, 0, 0),
      Entry(0x8000'001d, 0, kIndexed, 0, 0, 0, 0),  Entry(0x8000'001e, 0, 0, 0, 0, 0, 0)};
  const CpuTopology topology = {
      .numa_nodes = 2, .llcs_per_node = 2, .cores_per_llc = 2, .threads_per_core = 2};
  // Node 1, LLC 3, core 0, thread 1.
  const auto guest = GuestCpuid(host, {.topology = topology}, 13);
  EXPECT_GE(Find(guest, 0x8000'0000)->eax, 0x8000'001eu);
  EXPECT_TRUE(Find(guest, 0x8000'0001)->ecx & 1 << 22) << "topology extensions";
  EXPECT_NE(Find(guest, 0x8000'0006)->edx, 0u) << "there is an L3";
  for (uint32_t index = 0; index < 4; ++index) {
    const auto cache = Find(guest, 0x8000'001d, index);
    ASSERT_TRUE(cache);
    EXPECT_EQ(Sharing(*cache), index == 3 ? 4u : 2u) << index;
    EXPECT_EQ(cache->flags, kIndexed);
  }
  EXPECT_EQ(Find(guest, 0x8000'001d, 4)->eax & 0x1f, 0u) << "the end of the list";
  const auto id = Find(guest, 0x8000'001e);
  EXPECT_EQ(id->eax, ApicId(topology, 13));
  EXPECT_EQ(id->ebx >> 8 & 0xff, 1u) << "threads of a core, less one";
  EXPECT_EQ(id->ecx, 3u) << "an old family's LLC is told by this";
}

TEST(GuestCpuid, ANewerAmdFamilyIsToldItsNode) {
  auto host = Supported(true);
  for (auto& entry : host) {
    if (entry.function == 1) entry.eax = 0x00a2'0f12;  // family 0x19
  }
  const CpuTopology topology = {
      .numa_nodes = 2, .llcs_per_node = 2, .cores_per_llc = 2, .threads_per_core = 2};
  const auto guest = GuestCpuid(host, {.topology = topology}, 13);
  EXPECT_EQ(Find(guest, 0x8000'001e)->ecx, 1u);
  EXPECT_EQ(Sharing(*Find(guest, 0x8000'001d, 3)), 4u) << "the host's own leaf, adjusted";
}

TEST(GuestCpuid, AnIntelHostGetsNoAmdLeaves) {
  std::vector<kvm_cpuid_entry2> host = Supported(false);
  std::erase_if(host, [](const auto& entry) { return entry.function == 0x8000'001e; });
  const auto guest = GuestCpuid(host, {.topology = {2, 1, 1, 2}}, 0);
  EXPECT_FALSE(Find(guest, 0x8000'001e));
  EXPECT_EQ(Find(guest, 0x8000'0000)->eax, 0x8000'001fu);
}

TEST(GuestCpuid, AnOldProcessorGetsNoLeavesPastItsLimit) {
  std::vector<kvm_cpuid_entry2> old = {Entry(0, 0, 0, 7, 0x756e'6547, 0, 0),
                                       Entry(1, 0, 0, 0, 0, 0, 0)};
  const auto guest = GuestCpuid(old, {.topology = CpuTopology::Flat(2), .tsc_khz = 1000}, 1);
  EXPECT_FALSE(Find(guest, 0xb));
  EXPECT_FALSE(Find(guest, 0x15));
}

}  // namespace
}  // namespace watchsnap
