// A scheduler that is a program of its own, dynamically linked: it brings its libraries with it.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/guest_kernel.h"

namespace watchsnap {
namespace {

using ::testing::SizeIs;

WATCH_SCENARIO(Program) {
  EXPECT_EQ(ctx.schedulers()->State(), "enabled");
  absl::StatusOr<std::string> ops = ReadGuestFile("/sys/kernel/sched_ext/root/ops");
  EXPECT_TRUE(ops.ok() && *ops == "watchsnap_fifo\n") << ops.value_or("none");
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx, {Step{.ops = {Op::Snapshot("under it"), Op::StopScheduler()}}});
  EXPECT_EQ(ctx.schedulers()->State(), "disabled");
  EXPECT_THAT(ctx.schedulers()->Ends(), SizeIs(1));
  return result;
}

POST_VM(Program) { EXPECT_EQ(result.snapshot_bridge->ByTag("under it").size(), 1u); }

}  // namespace
}  // namespace watchsnap
