#include "debug/gdb_server/commands.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::gdb {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

constexpr auto kStay = RunAction::kStay;
constexpr auto kContinue = RunAction::kContinue;
constexpr auto kStep = RunAction::kStep;

TEST(ParseVContTest, TheLeftmostActionThatNamesAThreadIsItsAction) {
  EXPECT_THAT(ParseVCont(";c", 3), Optional(ElementsAre(kContinue, kContinue, kContinue)));
  EXPECT_THAT(ParseVCont(";s:2;c", 3), Optional(ElementsAre(kContinue, kStep, kContinue)));
  EXPECT_THAT(ParseVCont(";s:2", 3), Optional(ElementsAre(kStay, kStep, kStay)));
  EXPECT_THAT(ParseVCont(";c:1;s:1;s:3", 3), Optional(ElementsAre(kContinue, kStay, kStep)));
  EXPECT_THAT(ParseVCont(";c:-1", 2), Optional(ElementsAre(kContinue, kContinue)));
  EXPECT_THAT(ParseVCont(";S05:2;C0b", 2), Optional(ElementsAre(kContinue, kStep)));
}

TEST(ParseVContTest, RefusesWhatItDoesNotKnow) {
  for (const char* text : {"", "c", ";", ";c;", ";t", ";r1,2:1", ";c:9", ";c:x", ";cc", ";C", ";Cxx", ";s:1:2",
                           ";:1", ";c:p1.1"}) {
    EXPECT_EQ(ParseVCont(text, 2), std::nullopt) << text;
  }
}

TEST(ParseMemoryTest, AddressLengthAndData) {
  const auto read = ParseMemory("ffffffff81000000,8");
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->address, 0xffffffff81000000u);
  EXPECT_EQ(read->length, 8u);
  const auto write = ParseMemory("10,2:,:");
  ASSERT_TRUE(write.has_value());
  EXPECT_EQ(write->data, ",:");
  for (const char* text : {"", "10", "10,", ",8", "10,4001", "10,8,8", "x,8"}) {
    EXPECT_FALSE(ParseMemory(text).has_value()) << text;
  }
}

TEST(ParseBreakpointTest, TypeAddressKind) {
  const auto watch = ParseBreakpoint("2,ffffffff82000000,8");
  ASSERT_TRUE(watch.has_value());
  EXPECT_EQ(watch->type, BreakpointType::kWrite);
  EXPECT_EQ(watch->address, 0xffffffff82000000u);
  EXPECT_EQ(watch->kind, 8u);
  for (const char* text : {"", "5,10,1", "22,10,1", "2,10", "2,,1", "0,10,1;X1,00"}) {
    EXPECT_FALSE(ParseBreakpoint(text).has_value()) << text;
  }
}

TEST(ParseTransferTest, ObjectAnnexAndPart) {
  const auto part = ParseTransfer("features:read:target.xml:0,ffb");
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->object, "features");
  EXPECT_EQ(part->annex, "target.xml");
  EXPECT_EQ(part->length, 0xffbu);
  for (const char* text : {"", "features:write:target.xml:0,1", "features:read:target.xml:0", "a:b"}) {
    EXPECT_FALSE(ParseTransfer(text).has_value()) << text;
  }
}

TEST(ParseThreadTest, NumbersAllAndAny) {
  EXPECT_EQ(ParseThread("-1"), kAllThreads);
  EXPECT_EQ(ParseThread("0"), kAnyThread);
  EXPECT_EQ(ParseThread("a"), 10);
  EXPECT_EQ(ParseThread("80000000"), std::nullopt);
  EXPECT_EQ(ParseThread("p1.1"), std::nullopt);
}

}  // namespace
}  // namespace watchsnap::gdb
