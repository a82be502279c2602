// A scheduler that ends itself, which is no error, and the guest goes on under the kernel's own.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

WATCH_SCENARIO(Unload) {
  const Condition disabled = {"the scheduler is disabled",
                              [](ScenarioContext& ctx) -> absl::StatusOr<bool> {
                                return ctx.schedulers()->State() == "disabled";
                              }};
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx, {Step{.setup = {CgroupDef::Named("workers").Workers(1)},
                 .hold = HoldSpec::Until(disabled, absl::Seconds(40))},
            Step{.ops = {Op::Snapshot("after it")}}, Step{.ops = {Op::StopScheduler()}}});
  EXPECT_THAT(ctx.schedulers()->Ends(), SizeIs(1));
  for (const SchedulerEnd& end : ctx.schedulers()->Ends()) {
    EXPECT_EQ(end.name, "watchsnap_unload");
    EXPECT_FALSE(end.error) << end.Text();
    EXPECT_THAT(end.reason, HasSubstr("BPF"));
  }
  return result;
}

POST_VM(Unload) { EXPECT_EQ(result.snapshot_bridge->ByTag("after it").size(), 1u); }

}  // namespace
}  // namespace watchsnap
