// Fifty forks, counted by the function that counts them; nothing is stopped and nothing captured.
#include <sys/wait.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"

namespace embedder {
namespace {

using namespace watchsnap;  // NOLINT: what a test author writes

absl::Status ForkFiftyTimes(ScenarioContext&) {
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0 || waitpid(child, nullptr, 0) != child) return absl::InternalError("fork failed");
  }
  return absl::OkStatus();
}

WATCH_SCENARIO(ForksByWriter) {
  return ExecuteSteps(ctx, {Step{.ops = {Op::WatchSnapshot("total_forks"), Op::Run("fork fifty times", ForkFiftyTimes)},
                                 .hold = HoldSpec::None()}});
}

POST_VM(ForksByWriter) {
  // No freeze, no capture: every hit was counted as suppressed.
  EXPECT_THAT(result.snapshot_bridge->DrainOrdered(), testing::IsEmpty());
  const WatchCounters& counters = result.watches.at("total_forks");
  EXPECT_EQ(counters.captured, 0u);
  EXPECT_EQ(counters.hits, counters.suppressed);
  ASSERT_GE(counters.hits, 50u);
  // And by name: the function that writes it, as often as there were hits.
  EXPECT_THAT(result.plugin_summary,
              testing::ElementsAre(testing::EndsWith(absl::StrCat(": ", counters.hits, " writes by copy_process"))));
}

}  // namespace
}  // namespace embedder
