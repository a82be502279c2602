// Two watches in one step, two workers, a full hold: the example of the feature's description.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"

namespace watchsnap {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

WATCH_SCENARIO(JiffiesAndWatchdog) {
  return ExecuteSteps(
      ctx,
      {Step{.setup = {CgroupDef::Named("workers").Workers(2)},
            .ops = {Op::WatchSnapshot("jiffies_64"), Op::WatchSnapshot("scx_watchdog_timestamp")},
            .hold = HoldSpec::Full()}});
}

POST_VM(JiffiesAndWatchdog) {
  const std::vector<Report> ticks = HitsOf(result, "jiffies_64");
  ASSERT_THAT(ticks, Not(IsEmpty()));
  // Default budget: what it suppresses is counted, nothing is lost.
  const WatchCounters jiffies = result.watches.at("jiffies_64");
  EXPECT_EQ(jiffies.armed, 1u);
  EXPECT_EQ(jiffies.captured, ticks.size());
  EXPECT_EQ(jiffies.lost, 0u);
  EXPECT_TRUE(CheckConsistent(jiffies).ok()) << CheckConsistent(jiffies);
  ExpectSidecarAgrees(result, "jiffies_64");

  // The watchdog's timestamp moves only while a sched_ext scheduler is loaded: armed, and honestly
  // counted.
  const WatchCounters watchdog = result.watches.at("scx_watchdog_timestamp");
  EXPECT_EQ(watchdog.armed, 1u);
  EXPECT_EQ(watchdog.lost, 0u);
  EXPECT_EQ(HitsOf(result, "scx_watchdog_timestamp").size(), watchdog.captured);
  ExpectSidecarAgrees(result, "scx_watchdog_timestamp");
  for (const Report& tick : ticks) {
    ASSERT_EQ(tick.trigger.symbol, "jiffies_64") << "a hit of one watch under another's tag";
  }
}

}  // namespace
}  // namespace watchsnap
