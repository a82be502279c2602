// Captures at points of the scenario's own choosing, and programs and functions run in the guest.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

WATCH_SCENARIO(TimedSnapshots) {
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx, {Step{.setup = {CgroupDef::Named("workers").Workers(1)},
                 .ops = {Op::Snapshot("phase"), Op::Run({"/data/say", "hello from the guest"}),
                         Op::Sleep(absl::Milliseconds(50)), Op::Snapshot("phase"),
                         Op::Snapshot("end of it")}}});
  if (!result.ok() || !result->passed) return result;

  absl::StatusOr<AssertResult> fails =
      ExecuteSteps(ctx, {Step{.ops = {Op::Run({"/data/say"}), Op::Snapshot("never")}}});
  if (!fails.ok()) return fails;
  result->Merge(ExpectFailure(*fails, "/data/say exited with 2"));
  absl::StatusOr<AssertResult> missing =
      ExecuteSteps(ctx, {Step{.ops = {Op::Run({"/data/nothing"})}}});
  if (!missing.ok()) return missing;
  result->Merge(ExpectFailure(*missing, "/data/nothing"));
  return result;
}

POST_VM(TimedSnapshots) {
  EXPECT_THAT(result.console, HasSubstr("hello from the guest"));
  const std::vector<CaptureEntry> phases = result.snapshot_bridge->ByTag("phase");
  ASSERT_EQ(phases.size(), 2u);
  EXPECT_EQ(phases[0].kind, TriggerKind::kSnapshot);
  EXPECT_EQ(phases[1].seq, 1u);
  ASSERT_FALSE(phases[0].report.vcpus.empty());
  EXPECT_FALSE(phases[0].report.vcpus[0].registers.empty());
  ASSERT_TRUE(phases[0].report.trigger.guest_time_ns.has_value() &&
              phases[1].report.trigger.guest_time_ns.has_value());
  EXPECT_GT(*phases[1].report.trigger.guest_time_ns, *phases[0].report.trigger.guest_time_ns);
  EXPECT_EQ(result.snapshot_bridge->ByTag("end of it").size(), 1u);
  EXPECT_TRUE(result.snapshot_bridge->ByTag("never").empty());
  // One sidecar a tag, the space in its name escaped.
  EXPECT_THAT(result.sidecars,
              ::testing::Contains(HasSubstr("TimedSnapshots.end%20of%20it.snapshots.jsonl")));
}

}  // namespace
}  // namespace watchsnap
