// Workers of every kind under a sched_ext scheduler, moved and bound while they run; what they say
// of themselves on the host; and a series of captures over the hold.
#include <sched.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/guest_kernel.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

constexpr int kPeriodic = 4;

absl::Status ExpectFile(const std::string& path, const std::string& text) {
  absl::StatusOr<std::string> file = ReadGuestFile(path);
  if (!file.ok()) return file.status();
  if (*file != text) {
    return absl::AbortedError(absl::StrCat(path, " says '", *file, "', not '", text, "'"));
  }
  return absl::OkStatus();
}

// All tasks of the cgroup may run on CPU 1 and nowhere else.
absl::Status ExpectBound(ScenarioContext&) {
  absl::StatusOr<std::string> tasks = ReadGuestFile("/sys/fs/cgroup/pinned/cgroup.procs");
  if (!tasks.ok()) return tasks.status();
  cpu_set_t set;
  const int task = atoi(tasks->c_str());
  if (task == 0 || sched_getaffinity(task, sizeof(set), &set) != 0 || CPU_COUNT(&set) != 1 ||
      !CPU_ISSET(1, &set)) {
    return absl::AbortedError(absl::StrCat("task ", task, " is not bound to CPU 1"));
  }
  return absl::OkStatus();
}

WATCH_SCENARIO(Workers) {
  const Backdrop backdrop = {
      .setup = {CgroupDef::Named("behind").Work(WorkType::kSleep).Weight(50)}};
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx, backdrop,
      {Step{.setup = {CgroupDef::Named("spin").Work(WorkType::kSpin),
                      CgroupDef::Named("yield").Work(WorkType::kYield),
                      CgroupDef::Named("mixed").Work(WorkType::kMixed),
                      CgroupDef::Named("fork").Work(WorkType::kForkExit),
                      CgroupDef::Named("pipe").Work(WorkType::kPipe).Workers(2),
                      CgroupDef::Named("futex").Work(WorkType::kFutex)},
            .hold = HoldSpec::Full(),
            .num_periodic = kPeriodic},
       Step{.setup = {CgroupDef::Named("pinned").Workers(2).CpuSet("0-1"),
                      CgroupDef::Named("other").Workers(0)},
            .ops = {Op::Run("the files",
                            [](ScenarioContext&) {
                              absl::Status status =
                                  ExpectFile("/sys/fs/cgroup/pinned/cpuset.cpus", "0-1\n");
                              status.Update(ExpectFile("/sys/fs/cgroup/behind/cpu.weight", "50\n"));
                              return status;
                            }),
                    Op::SetAffinity("pinned", "1"), Op::Run("bound", ExpectBound),
                    Op::SetWeight("behind", 200),
                    Op::Run("the weight",
                            [](ScenarioContext&) {
                              return ExpectFile("/sys/fs/cgroup/behind/cpu.weight", "200\n");
                            }),
                    Op::MoveTasks("pinned", "other"), Op::Run("moved", [](ScenarioContext&) {
                      return ExpectFile("/sys/fs/cgroup/pinned/cgroup.procs", "");
                    })}}});
  if (!result.ok() || !result->passed) return result;
  absl::StatusOr<AssertResult> absent = ExecuteSteps(
      ctx, {Step{.setup = {CgroupDef::Named("x").CpuSet("0-77")}, .hold = HoldSpec::None()}});
  EXPECT_THAT(std::string(absent.status().message()), HasSubstr("cpuset.cpus"));
  return result;
}

POST_VM(Workers) {
  ASSERT_TRUE(result.scenario.has_value());
  std::map<std::string, int> seen;
  for (const WorkerReport& worker : result.scenario->workers) {
    SCOPED_TRACE(absl::StrCat(worker.cgroup, " ", worker.index));
    ++seen[worker.work];
    EXPECT_GT(worker.iterations, 0u);
    if (worker.work != "spin" && worker.work != "yield") {
      EXPECT_GT(worker.wakeups, 0u);
      EXPECT_GE(worker.latency_sum_ns, worker.latency_max_ns);
    }
  }
  const std::map<std::string, int> wanted = {{"spin", 3},  {"yield", 1},     {"mixed", 1},
                                             {"sleep", 1}, {"fork_exit", 1}, {"pipe", 2},
                                             {"futex", 1}};
  EXPECT_EQ(seen, wanted);

  const std::vector<CaptureEntry> series = result.snapshot_bridge->ByTag(kPeriodicTag);
  ASSERT_EQ(series.size(), static_cast<size_t>(kPeriodic));
  for (size_t i = 0; i < series.size(); ++i) {
    EXPECT_EQ(series[i].kind, TriggerKind::kPeriodic);
    if (i == 0) continue;
    EXPECT_GT(*series[i].report.trigger.guest_time_ns, *series[i - 1].report.trigger.guest_time_ns);
  }
}

}  // namespace
}  // namespace watchsnap
