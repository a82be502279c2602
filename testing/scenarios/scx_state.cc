// What captures say of a sched_ext scheduler at work: the FIFO one, with more workers than CPUs.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/accessor/snapshot.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int kCpus = 2;
constexpr int kWorkers = 5;
constexpr uint64_t kQueue = 0x5ca1ab1e;  // fifo.bpf.c's

WATCH_SCENARIO(ScxState) {
  return ExecuteSteps(
      ctx, {Step{.setup = {CgroupDef::Named("workers").Workers(kWorkers)},
                 .ops = {Op::Sleep(absl::Milliseconds(200)), Op::Snapshot("busy"),
                         Op::Sleep(absl::Milliseconds(150)), Op::Snapshot("busy"),
                         Op::Sleep(absl::Milliseconds(150)), Op::Snapshot("busy")}},
            Step{.ops = {Op::StopScheduler(), Op::Snapshot("after")}}});
}

// Fails the test, and stands for the value, where there is none.
uint64_t Number(const SnapshotValue& at, std::string_view path) {
  const absl::StatusOr<uint64_t> value = at.Get(path).AsU64();
  EXPECT_TRUE(value.ok()) << value.status();
  return value.value_or(~uint64_t{0});
}

std::string Text(const SnapshotValue& at, std::string_view path) {
  const absl::StatusOr<std::string> value = at.Get(path).AsStr();
  EXPECT_TRUE(value.ok()) << value.status();
  return value.value_or("");
}

std::vector<SnapshotValue> Items(const SnapshotValue& at, std::string_view path) {
  const absl::StatusOr<std::vector<SnapshotValue>> items = at.Get(path).Items();
  EXPECT_TRUE(items.ok()) << items.status();
  return items.value_or(std::vector<SnapshotValue>());
}

// The pids of a queue's tasks in order; the queue's own count agrees.
std::vector<uint64_t> TasksOf(const SnapshotValue& queue) {
  std::vector<uint64_t> pids;
  for (const SnapshotValue& task : Items(queue, "tasks")) pids.push_back(Number(task, "pid"));
  EXPECT_EQ(Number(queue, "nr"), pids.size());
  return pids;
}

// How many of its workers were found running or waiting in queues.
int CheckBusy(const Snapshot& snapshot) {
  const SnapshotValue scx = snapshot.Get("scx");
  EXPECT_EQ(Text(scx, "state"), "enabled");
  EXPECT_EQ(Text(scx, "root.ops_name"), "watchsnap_fifo");
  EXPECT_EQ(Number(scx, "root.timeout_ms"), 2000u);
  EXPECT_EQ(Text(scx, "root.exit_kind"), "SCX_EXIT_NONE");
  EXPECT_THAT(Text(scx, "root.address"), StartsWith("0xff"));
  EXPECT_EQ(Text(scx, "exit.kind"), "SCX_EXIT_NONE");
  EXPECT_EQ(Number(scx, "bypass.depth"), 0u);

  std::map<uint64_t, SnapshotValue> tasks;
  for (const SnapshotValue& task : Items(scx, "tasks")) tasks.emplace(Number(task, "pid"), task);
  EXPECT_TRUE(tasks.contains(1)) << "init is a task too";
  int workers = 0;
  for (const auto& [pid, task] : tasks) {
    if (Text(task, "comm") != "worker") continue;
    ++workers;
    EXPECT_EQ(Text(task, "scx_state"), "SCX_TASK_ENABLED");
    EXPECT_EQ(Text(task, "state"), "R");
    EXPECT_EQ(Number(task, "weight"), 100u);
    EXPECT_LE(Number(task, "slice"), 20'000'000u);
    EXPECT_LT(Number(task, "cpu"), static_cast<uint64_t>(kCpus));
  }
  EXPECT_EQ(workers, kWorkers);

  int found = 0;
  const auto count = [&](uint64_t pid, const SnapshotValue& task) {
    if (Text(task, "comm") == "worker") ++found;
    EXPECT_TRUE(pid == 0 || tasks.contains(pid)) << pid << " is in no list of tasks";
  };
  const std::vector<SnapshotValue> cpus = Items(scx, "cpus");
  EXPECT_EQ(cpus.size(), static_cast<size_t>(kCpus));
  for (const SnapshotValue& cpu : cpus) {
    EXPECT_THAT(Text(cpu, "flags"), HasSubstr("SCX_RQ_ONLINE"));
    EXPECT_THAT(Number(cpu, "nr_running"), Ge(Number(cpu, "scx_nr_running")));
    EXPECT_EQ(Text(cpu, "local_dsq.id"), "SCX_DSQ_LOCAL");
    count(Number(cpu, "curr.pid"), cpu.Get("curr"));
    // Two ways to the same task: the run queue's, and the CPU's own variable.
    EXPECT_EQ(Number(cpu, "curr.pid"),
              Number(snapshot.Get(absl::StrCat("vcpus[", Number(cpu, "cpu"), "].task")), "pid"));
    (void)TasksOf(cpu.Get("local_dsq"));
    for (const SnapshotValue& task : Items(cpu, "local_dsq.tasks")) count(Number(task, "pid"), task);
  }
  int queues = 0;
  for (const SnapshotValue& queue : Items(scx, "dsqs")) {
    if (queue.Get("id").Is(kQueue).value_or(false)) {
      ++queues;
      for (const uint64_t pid : TasksOf(queue)) {
        const auto task = tasks.find(pid);
        if (task == tasks.end()) {
          ADD_FAILURE() << pid << " waits and is in no list of tasks";
          continue;
        }
        EXPECT_EQ(Number(task->second, "dsq"), kQueue);
        EXPECT_THAT(Text(task->second, "flags"), HasSubstr("SCX_TASK_QUEUED"));
        count(pid, task->second);
      }
    } else {
      EXPECT_EQ(Text(queue, "id"), "SCX_DSQ_GLOBAL");
      EXPECT_EQ(Number(queue, "node"), 0u);
    }
  }
  EXPECT_EQ(queues, 1) << "the scheduler's queue";
  return found;
}

POST_VM(ScxState) {
  const std::vector<CaptureEntry> busy = result.snapshot_bridge->ByTag("busy");
  ASSERT_EQ(busy.size(), 3u);
  int found = 0;
  for (const CaptureEntry& entry : busy) {
    found += CheckBusy(entry.snapshot());
    for (const Degraded& degraded : entry.report.degraded) {
      EXPECT_THAT(degraded.what, Not(StartsWith("scx"))) << degraded.why;
    }
  }
  // Each worker runs or waits; one on its way from a queue to a CPU is in neither.
  EXPECT_GE(found, 3 * kWorkers - 3);
  EXPECT_LE(found, 3 * kWorkers);

  const std::vector<CaptureEntry> after = result.snapshot_bridge->ByTag("after");
  ASSERT_EQ(after.size(), 1u);
  const std::string* scx = FindMember(after[0].report.more, "scx");
  ASSERT_NE(scx, nullptr);
  EXPECT_EQ(*scx, R"({"state":"disabled"})");
}

}  // namespace
}  // namespace watchsnap
