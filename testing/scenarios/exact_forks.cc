// A guest program that forks exactly fifty times with the kernel's own count of it watched: fifty pairs
// with new = old + 1, under any debug plugin. Under one that has more than three watches others are armed
// beside it, one of them in a variable that is written at each fork and exit.
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

// Quiet ones, and the count of threads.
[[maybe_unused]] constexpr const char* kBeside[] = {"nr_threads", "panic_cpu", "scx_watchdog_timestamp", "saved_command_line"};

WATCH_SCENARIO(ExactForks) {
  Step step;
  step.ops.push_back(Op::WatchSnapshot("total_forks", WatchOptions::Unlimited()));
#ifdef WATCHSNAP_MANY_WATCHES
  for (const char* symbol : kBeside) {
    step.ops.push_back(Op::WatchSnapshot(symbol, WatchOptions::Unlimited()));
  }
#endif
  step.ops.push_back(Op::Run("fork fifty times", ForkFiftyTimes));
  step.hold = HoldSpec::None();
  return ExecuteSteps(ctx, {step});
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
#ifdef WATCHSNAP_MANY_WATCHES
  for (const char* symbol : kBeside) ExpectEveryHitCaptured(result, symbol);
  const std::vector<Report> threads = HitsOf(result, "nr_threads");
  EXPECT_GE(threads.size(), 2u * kForks) << "each child comes and goes";
  ExpectChain(threads);
#endif
}

}  // namespace
}  // namespace watchsnap
