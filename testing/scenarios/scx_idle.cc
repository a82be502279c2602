// What captures say of sched_ext while no scheduler is loaded: one word.
#include <string>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

WATCH_SCENARIO(ScxWithoutAScheduler) {
  return ExecuteSteps(ctx, {Step{.setup = {CgroupDef::Named("workers").Workers(1)},
                                 .ops = {Op::Snapshot("idle")}}});
}

POST_VM(ScxWithoutAScheduler) {
  const std::vector<CaptureEntry> captures = result.snapshot_bridge->ByTag("idle");
  ASSERT_EQ(captures.size(), 1u);
  const std::string* scx = FindMember(captures[0].report.more, "scx");
  ASSERT_NE(scx, nullptr) << "the stock kernel has sched_ext";
  EXPECT_EQ(*scx, R"({"state":"disabled"})");
  for (const Degraded& entry : captures[0].report.degraded) {
    EXPECT_FALSE(absl::StartsWith(entry.what, "scx")) << entry.what << ": " << entry.why;
  }
}

}  // namespace
}  // namespace watchsnap
