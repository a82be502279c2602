// A minute of jiffies_64: a symbol that the kernel writes at every tick is watched for 60 seconds of the
// guest's time, each write a capture, and the guest lives: no hit is missing, nothing in the kernel noticed, and its
// clock is the host's less the pauses.
#include <ctime>
#include <set>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kWatched = absl::Seconds(60);
// HZ is 250; a late tick counts those that were missed, in one write.
constexpr size_t kLeastHits = 3000;

int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

WATCH_SCENARIO(JiffiesSoak) {
  std::string begin, end;
  const auto note = [](std::string& to) {
    return [&to](ScenarioContext&) {
      to = absl::StrCat(MonotonicNs());
      return absl::OkStatus();
    };
  };
  // One worker: with two vCPUs the other one sleeps and wakes.
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx, {Step{.setup = {CgroupDef::Named("busy").Workers(1)},
                 .ops = {Op::WatchSnapshot("jiffies_64", WatchOptions::Unlimited()),
                         Op::Run("note the beginning", note(begin)), Op::Snapshot("begin"),
                         Op::Run("watch for a minute",
                                 [](ScenarioContext&) {
                                   absl::SleepFor(kWatched);
                                   return absl::OkStatus();
                                 }),
                         Op::Run("note the end", note(end)), Op::Snapshot("end")}}});
  if (result.ok()) {
    result->AddNote(absl::StrCat("begin_ns=", begin));
    result->AddNote(absl::StrCat("end_ns=", end));
  }
  return result;
}

int64_t NumberOf(const VmResult& result, std::string_view name) {
  int64_t value = 0;
  EXPECT_TRUE(absl::SimpleAtoi(NoteOf(result, name), &value)) << name;
  return value;
}

POST_VM(JiffiesSoak) {
  const std::vector<Report> hits = HitsOf(result, "jiffies_64");
  EXPECT_GE(hits.size(), kLeastHits);
  ExpectEveryHitCaptured(result, "jiffies_64");
  ExpectChain(hits);

  // The clocks. Host times of the two captures that the guest asked for right after it read its own.
  const std::vector<CaptureEntry> begin = result.snapshot_bridge->ByTag("begin");
  const std::vector<CaptureEntry> end = result.snapshot_bridge->ByTag("end");
  ASSERT_EQ(begin.size(), 1u);
  ASSERT_EQ(end.size(), 1u);
  ASSERT_TRUE(begin[0].report.trigger.host_time_ns.has_value());
  const uint64_t from = *begin[0].report.trigger.host_time_ns;
  const uint64_t to = *end[0].report.trigger.host_time_ns;
  std::set<uint64_t> freezes;
  uint64_t hidden = begin[0].report.cost.hidden_ns.value_or(0);
  uint64_t paused = begin[0].report.cost.pause_ns;
  for (const Report& hit : hits) {
    const uint64_t at = hit.trigger.host_time_ns.value_or(0);
    if (at <= from || at >= to || !freezes.insert(hit.trigger.freeze.value_or(0)).second) continue;
    hidden += hit.cost.hidden_ns.value_or(0);
    paused += hit.cost.pause_ns;
  }
  const double guest = static_cast<double>(NumberOf(result, "end_ns") - NumberOf(result, "begin_ns"));
  const double host = static_cast<double>(to - from);
  std::printf("%zu captures; the guest's clock went on by %.6f s, the host's by %.6f s, of which %.6f s were "
              "pauses, %.6f s of them hidden: off by %.4f %%\n",
              hits.size(), guest * 1e-9, host * 1e-9, static_cast<double>(paused) * 1e-9,
              static_cast<double>(hidden) * 1e-9, 100 * (guest / (host - static_cast<double>(hidden)) - 1));
  EXPECT_NEAR(guest / (host - static_cast<double>(hidden)), 1.0, 0.001);
  for (const Report& hit : hits) {
    for (const Degraded& degraded : hit.degraded) {
      ASSERT_NE(degraded.what, "guest time") << degraded.why;
    }
  }

  // Nothing in the kernel noticed.
  for (const char* words :
       {"soft lockup", "hard LOCKUP", "rcu_preempt", "rcu_sched", "self-detected stall", "detected stalls",
        "timekeeping watchdog", "as unstable", "clocksource: Long readout", "hrtimer: interrupt took",
        "blocked for more than", "workqueue lockup", "watchdog: BUG", "sched_ext: disabled",
        "watchdog failed to check in"}) {
    EXPECT_THAT(result.console, Not(HasSubstr(words)));
  }
}

}  // namespace
}  // namespace watchsnap
