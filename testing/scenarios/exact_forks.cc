// A guest program that forks exactly fifty times with the kernel's own count of it watched: fifty pairs
// with new = old + 1, under any debug plugin.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/accessor/snapshot.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"

namespace watchsnap {
namespace {

constexpr int kForks = 50;
constexpr char kComm[] = "forks fifty";

absl::Status ForkFiftyTimes(ScenarioContext&) {
  prctl(PR_SET_NAME, kComm);
  for (int i = 0; i < kForks; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0 || waitpid(child, nullptr, 0) != child) return absl::InternalError("fork failed");
  }
  return absl::OkStatus();
}

WATCH_SCENARIO(ExactForks) {
  return ExecuteSteps(ctx, {Step{.ops = {Op::WatchSnapshot("total_forks", WatchOptions::Unlimited()),
                                         Op::Run("fork fifty times", ForkFiftyTimes)},
                                 .hold = HoldSpec::None()}});
}

POST_VM(ExactForks) {
  ExpectEveryHitCaptured(result, "total_forks");
  const std::vector<Report> hits = HitsOf(result, "total_forks");
  ExpectChain(hits, /*step=*/1);
  int ours = 0;  // the kernel may start a thread of its own meanwhile
  for (const Report& hit : hits) {
    ASSERT_TRUE(hit.trigger.old_value.has_value() && hit.trigger.new_value.has_value());
    EXPECT_EQ(*hit.trigger.new_value, *hit.trigger.old_value + 1);
    ASSERT_TRUE(hit.trigger.writer.has_value());
    EXPECT_EQ(hit.trigger.writer->symbol, "copy_process");
    const Snapshot snapshot(hit);
    const std::string task = absl::StrCat("vcpus[", *hit.trigger.vcpu, "].task.comm");
    ours += snapshot.Get(task).AsStr().value_or("") == kComm;
  }
  EXPECT_EQ(ours, kForks);
}

}  // namespace
}  // namespace watchsnap
