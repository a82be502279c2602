// A scheduler that the kernel throws out: known with the kernel's reason and message, whether it
// was started by the test or by an op, and a scenario goes on after it.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

const Condition kDisabled = {"the scheduler is disabled",
                             [](ScenarioContext& ctx) -> absl::StatusOr<bool> {
                               return ctx.schedulers()->State() == "disabled";
                             }};

WATCH_SCENARIO(Error) {
  const Step provoke = {.setup = {CgroupDef::Named("workers").Workers(2)},
                        .hold = HoldSpec::Until(kDisabled, absl::Seconds(20))};
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx, {provoke, Step{.ops = {Op::StartScheduler("fifo")},
                                       .hold = HoldSpec::For(absl::Milliseconds(200))}});
  if (!result.ok() || !result->passed) return result;
  EXPECT_EQ(ctx.schedulers()->State(), "enabled") << "fifo works after the one that failed";

  absl::StatusOr<AssertResult> unknown =
      ExecuteSteps(ctx, {Step{.ops = {Op::StartScheduler("lifo")}}});
  if (!unknown.ok()) return unknown;
  result->Merge(ExpectFailure(
      *unknown, "no scheduler 'lifo' in the guest; it has: error.bpf.o, fifo.bpf.o [step 0, op 0"));

  EXPECT_THAT(ctx.schedulers()->Ends(), SizeIs(1));
  for (const SchedulerEnd& end : ctx.schedulers()->Ends()) {
    EXPECT_EQ(end.name, "watchsnap_error");
    EXPECT_TRUE(end.error);
    EXPECT_EQ(end.reason, "scx_bpf_error");
    EXPECT_THAT(end.message, HasSubstr("watchsnap_error gives up on purpose after "));
    result->AddNote(end.Text());
  }
  return result;
}

// Without expect_scheduler_error the same fails. Here: what Check says of an error that nobody
// expects.
WATCH_SCENARIO(AnErrorThatIsNotExpected) {
  GuestSchedulers strict({}, std::nullopt);
  absl::Status status;
  for (int turn = 0; turn < 200 && status.ok(); ++turn) {
    strict.WaitForNews(absl::Milliseconds(100));
    status = strict.Check();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("scheduler 'watchsnap_error' was disabled by the kernel: scx_bpf_error: "
                        "watchsnap_error gives up on purpose"));
  EXPECT_TRUE(strict.Check().ok()) << "one end, one error";
  return AssertResult::Pass();
}

}  // namespace
}  // namespace watchsnap
