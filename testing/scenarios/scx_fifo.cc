// A scenario under a sched_ext scheduler that works, and the kernel's own watch over it as what is
// watched.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kTimestamp[] = "scx_watchdog_timestamp";

WATCH_SCENARIO(Fifo) {
  EXPECT_EQ(ctx.schedulers()->State(), "enabled") << "the scheduler was not there before the steps";
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx, {Step{.setup = {CgroupDef::Named("workers").Workers(3)},
                              .ops = {Op::WatchSnapshot(kTimestamp)},
                              .hold = HoldSpec::Full()},
                         Step{.ops = {Op::StopScheduler()}}});
  EXPECT_EQ(ctx.schedulers()->State(), "disabled");
  EXPECT_THAT(ctx.schedulers()->Ends(), SizeIs(1));
  for (const SchedulerEnd& end : ctx.schedulers()->Ends()) {
    EXPECT_EQ(end.name, "watchsnap_fifo");
    EXPECT_FALSE(end.error) << end.Text();
    EXPECT_THAT(end.reason, HasSubstr("user space"));
  }
  return result;
}

// The watchdog looks at the scheduler's tasks twice in its timeout of two seconds.
POST_VM(Fifo) {
  const std::vector<Report> hits = HitsOf(result, kTimestamp);
  EXPECT_GT(hits.size(), 1u);
  ExpectEveryHitCaptured(result, kTimestamp);
  ExpectChain(hits, std::nullopt);
  EXPECT_THAT(result.console, HasSubstr("bpf_loader: attached watchsnap_fifo"));
}

}  // namespace
}  // namespace watchsnap
