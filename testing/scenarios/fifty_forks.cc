// The example of the README: a program that forks fifty times, and the kernel's own count of it.
#include <sys/wait.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

absl::Status ForkFiftyTimes(ScenarioContext&) {
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0 || waitpid(child, nullptr, 0) != child) return absl::InternalError("fork failed");
  }
  return absl::OkStatus();
}

// In the guest.
WATCH_SCENARIO(FiftyForks) {
  return ExecuteSteps(ctx, {Step{.ops = {Op::WatchSnapshot("total_forks", WatchOptions::Unlimited()),
                                         Op::Run("fork fifty times", ForkFiftyTimes)},
                                 .hold = HoldSpec::None()}});
}

// On the host, after the machine stopped.
POST_VM(FiftyForks) {
  const std::vector<CaptureEntry> captures = result.snapshot_bridge->DrainOrdered();
  ASSERT_GE(captures.size(), 50u);
  for (const CaptureEntry& capture : captures) {
    const Trigger& trigger = capture.report.trigger;
    EXPECT_EQ(*trigger.new_value, *trigger.old_value + 1);
    EXPECT_EQ(trigger.writer->symbol, "copy_process");
  }
}

}  // namespace
}  // namespace watchsnap
