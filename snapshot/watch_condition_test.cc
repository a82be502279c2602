#include "snapshot/watch_condition.h"

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOkAndHolds;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

TEST(WatchConditionTest, DecidesByTheNewValue) {
  EXPECT_TRUE(WatchCondition::Always().Holds(1, 1));
  EXPECT_FALSE(WatchCondition::Changed().Holds(1, 1));
  EXPECT_TRUE(WatchCondition::Changed().Holds(1, 2));
  EXPECT_TRUE(WatchCondition::Equal(3).Holds(0, 3));
  EXPECT_FALSE(WatchCondition::Equal(3).Holds(3, 4));
  EXPECT_TRUE(WatchCondition::Masked(0xf0, 0x10).Holds(0, 0x1f));
  EXPECT_FALSE(WatchCondition::Masked(0xf0, 0x10).Holds(0x10, 0x2f));
  EXPECT_TRUE(WatchCondition::Range(10, 20).Holds(0, 10));
  EXPECT_TRUE(WatchCondition::Range(10, 20).Holds(0, 20));
  EXPECT_FALSE(WatchCondition::Range(10, 20).Holds(15, 21));
  EXPECT_TRUE(WatchCondition::Range(0, ~0ull).Holds(0, ~0ull));
}

TEST(WatchConditionTest, TextGoesBothWays) {
  for (const WatchCondition& condition :
       {WatchCondition::Always(), WatchCondition::Changed(), WatchCondition::Equal(~0ull),
        WatchCondition::Masked(0xff00, 0x1200), WatchCondition::Range(0, 0),
        WatchCondition::Range(7, ~0ull)}) {
    EXPECT_THAT(ParseWatchCondition(WatchConditionText(condition)), IsOkAndHolds(condition));
  }
  EXPECT_THAT(ParseWatchCondition("==0x10"), IsOkAndHolds(WatchCondition::Equal(16)));
  EXPECT_THAT(ParseWatchCondition("&3==0x1"), IsOkAndHolds(WatchCondition::Masked(3, 1)));
}

TEST(WatchConditionTest, WhatIsWrongIsSaid) {
  for (const char* text : {"", "=3", "==", "==-1", "==3 ", "== 3", "&==1", "&1", "&1==", "..", "1..",
                           "..2", "1...3", "3", "Changed", "==18446744073709551616", "==0xg"}) {
    EXPECT_THAT(ParseWatchCondition(text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("LEAST..MOST")))
        << text;
  }
  EXPECT_THAT(ParseWatchCondition("2..1"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("never hold")));
  EXPECT_THAT(ParseWatchCondition("&0xf==0x10"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("never hold")));
}

}  // namespace
}  // namespace watchsnap
