#include "debug/stacks/x86_64/orc_table.h"

#include <string>

#include "absl/status/status_matchers.h"
#include "debug/stacks/x86_64/orc_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::x86_64 {
namespace {

using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr uint64_t kText = OrcBuilder::kText;

TEST(OrcTableTest, AnEntryHoldsUntilTheNext) {
  OrcBuilder orc;
  orc.Entry(0x10, {.sp_offset = 8, .sp = 3, .type = 2})
      .Entry(0x20,
             {.sp_offset = -16, .bp_offset = -24, .sp = 4, .bp = 8, .type = 3, .signal = true});
  const auto kernel = orc.Kernel();
  const auto table = OrcTable::Create(kernel->elf());
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->size(), 2u);
  EXPECT_FALSE(table->Find(kText + 0xf).has_value()) << "before the first";
  EXPECT_EQ(table->Find(kText + 0x10)->sp_offset, 8);
  EXPECT_EQ(table->Find(kText + 0x1f)->sp_base, OrcBase::kSp);
  const OrcEntry second = *table->Find(kText + 0x20);
  EXPECT_EQ(second.sp_offset, -16);
  EXPECT_EQ(second.bp_offset, -24);
  EXPECT_EQ(second.sp_base, OrcBase::kBp);
  EXPECT_EQ(second.bp_base, OrcBase::kPreviousSp);
  EXPECT_EQ(second.type, OrcType::kRegs);
  EXPECT_TRUE(second.signal);
  EXPECT_TRUE(table->Find(kText + OrcBuilder::kTextSize - 1).has_value());
  EXPECT_FALSE(table->Find(kText + OrcBuilder::kTextSize).has_value()) << "no text there";
  EXPECT_FALSE(table->Find(0).has_value());
}

TEST(OrcTableTest, OfSeveralAtOneAddressTheLastIsMeant) {
  OrcBuilder orc;
  orc.Entry(0x10, {.type = 0})
      .Entry(0x10, {.type = 0})
      .Entry(0x10, {.sp_offset = 8, .sp = 3, .type = 2});
  const auto kernel = orc.Kernel();
  EXPECT_EQ(OrcTable::Create(kernel->elf())->Find(kText + 0x10)->type, OrcType::kCall);
}

TEST(OrcTableTest, EveryNumberOfBothDefinitions) {
  const std::vector<OrcBase> of_64 = {
      OrcBase::kUndefined,  OrcBase::kPreviousSp, OrcBase::kDx,     OrcBase::kDi,
      OrcBase::kBp,         OrcBase::kSp,         OrcBase::kR10,    OrcBase::kR13,
      OrcBase::kBpIndirect, OrcBase::kSpIndirect, OrcBase::kInvalid};
  const std::vector<OrcBase> of_73 = {
      OrcBase::kUndefined,  OrcBase::kAx,         OrcBase::kDx,         OrcBase::kSp,
      OrcBase::kBp,         OrcBase::kDi,         OrcBase::kR10,        OrcBase::kR13,
      OrcBase::kPreviousSp, OrcBase::kSpIndirect, OrcBase::kBpIndirect, OrcBase::kInvalid};
  for (const auto& [header, bases] :
       {std::pair(OrcBuilder::kHeader64, of_64), std::pair(OrcBuilder::kHeader73, of_73)}) {
    for (uint8_t number = 0; number < 16; ++number) {
      OrcBuilder orc;
      orc.Header(header).Entry(0, {.sp = number, .bp = number, .type = 2});
      const auto kernel = orc.Kernel();
      const OrcEntry entry = *OrcTable::Create(kernel->elf())->Find(kText);
      const OrcBase wanted = number < bases.size() ? bases[number] : OrcBase::kInvalid;
      EXPECT_EQ(entry.sp_base, wanted) << header << " " << int{number};
      EXPECT_EQ(entry.bp_base, wanted) << header << " " << int{number};
    }
  }
}

TEST(OrcTableTest, WhatIsNotKnownOrDamagedIsRefusedWithItsReason) {
  auto status = [](const OrcBuilder& orc) {
    return OrcTable::Create(orc.Kernel()->elf()).status();
  };
  OrcBuilder good;
  good.Entry(0x10, {.type = 1}).Entry(0x20, {.type = 1});
  EXPECT_TRUE(status(good).ok());
  EXPECT_THAT(status(OrcBuilder(good).Header("")),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("there is none")));
  EXPECT_THAT(status(OrcBuilder(good).Header("db84aed4103b31dd51e017f8f79783ca985c2c51")),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("db84aed4")));
  EXPECT_THAT(status(OrcBuilder(good).Header("137c36ad")),
              StatusIs(absl::StatusCode::kUnimplemented));
  OrcBuilder unsorted = good;
  unsorted.Entry(0x18, {.type = 1});
  EXPECT_THAT(status(unsorted),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not sorted at entry 2")));
  OrcBuilder shorter = good;
  shorter.entries().pop_back();
  EXPECT_THAT(status(shorter), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("11")));
  EXPECT_THAT(status(OrcBuilder()), StatusIs(absl::StatusCode::kInvalidArgument));
  ElfBuilder none;
  none.AddSection(".text", kText, SHF_ALLOC | SHF_EXECINSTR);
  EXPECT_THAT(OrcTable::Create(**ElfFile::FromBytes("vmlinux", none.Build())).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("CONFIG_UNWINDER_ORC")));
}

}  // namespace
}  // namespace watchsnap::x86_64
