// A scheduler that never runs one of its tasks again: the kernel's watchdog ends it.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

WATCH_SCENARIO(Stall) {
  const Condition disabled = {"the scheduler is disabled",
                              [](ScenarioContext& ctx) -> absl::StatusOr<bool> {
                                return ctx.schedulers()->State() == "disabled";
                              }};
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx, {Step{.setup = {CgroupDef::Named("workers").Workers(1)},
                              .hold = HoldSpec::Until(disabled, absl::Seconds(40))}});
  EXPECT_THAT(ctx.schedulers()->Ends(), SizeIs(1));
  for (const SchedulerEnd& end : ctx.schedulers()->Ends()) {
    EXPECT_EQ(end.name, "watchsnap_stall");
    EXPECT_TRUE(end.error);
    EXPECT_EQ(end.reason, "runnable task stall");
    EXPECT_THAT(end.message, HasSubstr("bpf_loader["));
    EXPECT_THAT(end.message, HasSubstr("failed to run for"));
  }
  return result;
}

}  // namespace
}  // namespace watchsnap
