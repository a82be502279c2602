#include "debug/gdb_server/x86_64/registers.h"

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::gdb {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::StartsWith;

VcpuRegisters Sample() {
  VcpuRegisters registers;
  registers.regs.rax = 0x1122334455667788;
  registers.regs.rip = 0xffffffff81000010;
  registers.regs.rflags = 0x246;
  registers.sregs.cs.selector = 0x10;
  registers.sregs.gs.base = 0xffff888000000000;
  registers.sregs.cr3 = 0x1000;
  return registers;
}

TEST(RegistersTest, ValuesAreLittleEndianAndInGdbsOrder) {
  const VcpuRegisters registers = Sample();
  EXPECT_EQ(RegisterHex(registers, 0), "8877665544332211");
  EXPECT_EQ(RegisterHex(registers, kPcRegister), "10000081ffffffff");
  EXPECT_EQ(RegisterHex(registers, 17), "46020000");
  EXPECT_EQ(RegisterHex(registers, 18), "10000000");
  EXPECT_EQ(RegisterHex(registers, 24), std::string(20, 'x')) << "st0";
  EXPECT_EQ(RegisterHex(registers, 41), "000000008088ffff") << "gs_base";
  EXPECT_EQ(RegisterHex(registers, 44), "0010000000000000") << "cr3";
  EXPECT_EQ(RegisterHex(registers, 48), std::nullopt);
  EXPECT_EQ(RegisterHex(registers, -1), std::nullopt);
  // 17 of 8 bytes, 7 of 4, 8 of 10, 8 of 4, then 8 of 8: what gdb's amd64 begins with.
  EXPECT_EQ(AllRegistersHex(registers).size(), 2u * (17 * 8 + 7 * 4 + 8 * 10 + 8 * 4 + 8 * 8));
  EXPECT_THAT(AllRegistersHex(registers), StartsWith("8877665544332211"));
}

TEST(RegistersTest, WritesSayWhatTheyChanged) {
  VcpuRegisters registers = Sample();
  RegisterWrite wrote;
  EXPECT_THAT(WriteRegister(kPcRegister, "00000081ffffffff", registers, wrote), IsOk());
  EXPECT_EQ(registers.regs.rip, 0xffffffff81000000u);
  EXPECT_TRUE(wrote.general);
  EXPECT_FALSE(wrote.special);
  EXPECT_THAT(WriteRegister(40, "0100000000000000", registers, wrote), IsOk());
  EXPECT_EQ(registers.sregs.fs.base, 1u);
  EXPECT_TRUE(wrote.special);
}

TEST(RegistersTest, RefusesWhatCannotBeWritten) {
  VcpuRegisters registers = Sample();
  RegisterWrite wrote;
  const auto is_refused = StatusIs(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(WriteRegister(18, "08000000", registers, wrote),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cs")));
  EXPECT_THAT(WriteRegister(99, "00", registers, wrote), is_refused);
  EXPECT_THAT(WriteRegister(0, "00", registers, wrote), is_refused);
  EXPECT_THAT(WriteRegister(0, "zz77665544332211", registers, wrote), is_refused);
  EXPECT_THAT(WriteAllRegisters("00", registers, wrote), is_refused);
  EXPECT_FALSE(wrote.general);
}

TEST(RegistersTest, AllOfThemWrittenBackAreAsTheyWere) {
  VcpuRegisters registers;
  RegisterWrite wrote;
  EXPECT_THAT(WriteAllRegisters(AllRegistersHex(Sample()), registers, wrote), IsOk());
  EXPECT_EQ(registers.regs.rax, Sample().regs.rax);
  EXPECT_EQ(registers.regs.rflags, Sample().regs.rflags);
  EXPECT_EQ(registers.sregs.gs.base, Sample().sregs.gs.base);
  EXPECT_EQ(registers.sregs.cr3, 0u) << "not writable";
}

TEST(RegistersTest, TheDescriptionHasGdbsFeatures) {
  const std::string& xml = TargetDescription();
  EXPECT_THAT(xml, HasSubstr("<architecture>i386:x86-64</architecture>"));
  EXPECT_THAT(xml, HasSubstr("org.gnu.gdb.i386.core"));
  EXPECT_THAT(xml, HasSubstr("<reg name=\"rip\" bitsize=\"64\" type=\"code_ptr\" regnum=\"16\"/>"));
  EXPECT_THAT(xml, HasSubstr("<reg name=\"gs_base\" bitsize=\"64\" type=\"uint64\" regnum=\"41\"/>"));
  EXPECT_THAT(xml, HasSubstr("name=\"cr3\""));
}

}  // namespace
}  // namespace watchsnap::gdb
