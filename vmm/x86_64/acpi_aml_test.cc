#include "vmm/x86_64/acpi_aml.h"

#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace watchsnap::aml {
namespace {

std::string Hex(const std::string& bytes) { return absl::BytesToHexString(bytes); }

TEST(Aml, IntegersTakeTheShortestForm) {
  EXPECT_EQ(Hex(Integer(0)), "00");
  EXPECT_EQ(Hex(Integer(1)), "01");
  EXPECT_EQ(Hex(Integer(2)), "0a02");
  EXPECT_EQ(Hex(Integer(0x100)), "0b0001");
  EXPECT_EQ(Hex(Integer(0x1'0000)), "0c00000100");
  EXPECT_EQ(Hex(Integer(0x1'0000'0000)), "0e0000000001000000");
}

TEST(Aml, EisaIdsAreCompressedAsTheSpecificationShows) {
  EXPECT_EQ(Hex(EisaId("PNP0A03")), "0c41d00a03");
  EXPECT_EQ(Hex(EisaId("PNP0501")), "0c41d00501");
}

TEST(Aml, PackageLengthCountsItselfAtEveryBoundary) {
  // Decodes as ACPI 6.5 §20.2.4 says.
  const auto decode = [](const std::string& bytes) {
    const auto lead = static_cast<uint8_t>(bytes[0]);
    const size_t more = lead >> 6;
    EXPECT_EQ(bytes.size(), more + 1);
    if (more == 0) return size_t{lead};
    size_t value = lead & 0xf;
    for (size_t i = 1; i <= more; ++i) {
      value |= static_cast<size_t>(static_cast<uint8_t>(bytes[i])) << (8 * i - 4);
    }
    return value;
  };
  for (size_t size :
       {0, 61, 62, 63, 64, 4092, 4093, 4094, 4095, 1048571, 1048572, 1048573, 1048576}) {
    const std::string length = PackageLength(size);
    EXPECT_EQ(decode(length), size + length.size()) << size;
  }
}

TEST(Aml, NamesArePaddedAndNested) {
  EXPECT_EQ(Hex(Name("\\_S5", Integer(1))), "085c5f53355f01");
  EXPECT_EQ(Hex(Device("COM1", "")), "5b8205434f4d31");
  EXPECT_EQ(Hex(Scope("\\_SB", "")), "10065c5f53425f");
  EXPECT_EQ(Hex(Method("_OSC", 4, ReturnArgument(3))), "14085f4f534304a46b");
  EXPECT_EQ(Hex(Package({Integer(5), Integer(0)})), "1205020a0500");
  EXPECT_EQ(Hex(String("AB")), "0d414200");
}

TEST(Aml, ResourceDescriptorsHaveTheLengthsTheyClaim) {
  EXPECT_EQ(Hex(Io(0x3f8, 8)), "4701f803f8030108");
  EXPECT_EQ(Hex(EdgeInterrupt(4)), "890600030104000000");
  EXPECT_EQ(Hex(FixedMemory(0xe000'0000, 0x10'0000)), "86090001000000e000001000");
  EXPECT_EQ(Hex(BusWindow(0, 0)), "880d00020c0000000000000000000100");
  EXPECT_EQ(Hex(IoWindow(0x1000, 0xffff)), "880d00010c0300000010ffff000000f0");
  EXPECT_EQ(Hex(MemoryWindow(0xc000'0000, 0xdfff'ffff)),
            "871700000c0100000000000000c0ffffffdf0000000000000020");
  EXPECT_EQ(Hex(ResourceTemplate("")),
            "1105"
            "0a02"
            "7900");
}

}  // namespace
}  // namespace watchsnap::aml
