// What a capture says of the tasks that the vCPUs run and of kernel variables: that the task that forks
// is this very program, and that variables are read by their types, live and from the sidecar alike.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/accessor/snapshot.h"
#include "snapshot/report/sidecar_file.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"

namespace watchsnap {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr int kForks = 10;
constexpr char kComm[] = "forks \"here\"";

absl::Status Fork(ScenarioContext&) {
  prctl(PR_SET_NAME, kComm);
  for (int i = 0; i < kForks; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0 || waitpid(child, nullptr, 0) != child) return absl::InternalError("fork failed");
  }
  return absl::OkStatus();
}

WATCH_SCENARIO(TasksAndVariables) {
  WatchOptions options = WatchOptions::Unlimited();
  options.variables = {"nr_threads", "init_task"};
  absl::StatusOr<AssertResult> refused = ExecuteSteps(
      ctx, {Step{.ops = {Op::Snapshot("typo", {"jiffies_46"})}}});
  if (!refused.ok()) return refused.status();
  if (refused->passed || refused->details.empty()) {
    return absl::InternalError("a variable that does not exist was accepted");
  }
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx, {Step{.ops = {Op::WatchSnapshot("total_forks", options), Op::Run("fork", Fork),
                         Op::Snapshot("now", {"jiffies_64", "nr_threads", "kernel_cpustat",
                                              "current_task", "panic_cpu"})}}});
  if (result.ok()) {
    result->AddNote(absl::StrCat("pid=", getpid()));
    result->AddNote(absl::StrCat("cpus=", sysconf(_SC_NPROCESSORS_ONLN)));
    result->AddNote(absl::StrCat("refusal=", refused->details[0].message));
  }
  return result;
}

// Of the hits of total_forks those that our program made.
size_t ExpectForks(const std::vector<Snapshot>& hits, int64_t pid) {
  size_t ours = 0;
  for (const Snapshot& hit : hits) {
    // One word of 8 bytes, as its type says it.
    EXPECT_EQ(hit.KernelVar("total_forks").AsU64(), hit.Get("trigger.new").AsU64());
    EXPECT_EQ(hit.Get("variables.total_forks.type").AsStr().value_or(""), "long unsigned int");
    EXPECT_GE(hit.KernelVar("nr_threads").AsI64().value_or(-1), 10);
    EXPECT_EQ(hit.KernelVar("init_task").Get("comm").AsStr().value_or(""), "swapper/0");
    const absl::StatusOr<uint64_t> vcpu = hit.Get("trigger.vcpu").AsU64();
    if (!vcpu.ok()) {
      ADD_FAILURE() << vcpu.status();
      continue;
    }
    const SnapshotValue task = hit.Get(absl::StrCat("vcpus[", *vcpu, "].task"));
    EXPECT_EQ(task.Get("state").AsStr().value_or(""), "R") << "it runs";
    EXPECT_EQ(task.Get("cpu").AsU64().value_or(99), *vcpu);
    if (task.Get("pid").AsI64().value_or(-1) != pid) continue;
    ++ours;
    EXPECT_EQ(task.Get("tgid").AsI64().value_or(-1), pid);
    EXPECT_EQ(task.Get("comm").AsStr().value_or(""), kComm);
    EXPECT_EQ(task.Get("policy").AsStr().value_or(""), "SCHED_NORMAL");
    EXPECT_EQ(task.Get("prio").AsI64().value_or(-1), 120);
  }
  return ours;
}

void ExpectNow(const Snapshot& now, uint64_t cpus) {
  EXPECT_EQ(now.Get("variables.jiffies_64.type").AsStr().value_or(""), "u64");
  EXPECT_EQ(now.KernelVar("panic_cpu").Get("counter").AsI64().value_or(0), -1);
  // Per CPU, and through the pointers to the tasks themselves, which agree with `vcpus[].task`.
  const auto items = now.Get("variables.kernel_cpustat.per_cpu").Items();
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_THAT(*items, SizeIs(cpus));
  for (uint64_t cpu = 0; cpu < cpus; ++cpu) {
    EXPECT_GT(now.KernelVar("kernel_cpustat").Cpu(cpu).Get("cpustat[2]").AsU64().value_or(0), 0u)
        << "system time of CPU " << cpu;
    const SnapshotValue current = now.KernelVar("current_task").Cpu(cpu);
    const SnapshotValue task = now.Get(absl::StrCat("vcpus[", cpu, "].task"));
    EXPECT_EQ(current.AsStr().value_or("?"), task.Get("address").AsStr().value_or("-"));
    EXPECT_EQ(current.Get("pid").AsI64(), task.Get("pid").AsI64());
    EXPECT_EQ(current.Get("comm").AsStr(), task.Get("comm").AsStr());
  }
}

std::vector<Snapshot> FromSidecar(const VmResult& result, std::string_view tag) {
  std::vector<Snapshot> snapshots;
  for (const std::string& path : result.sidecars) {
    if (!absl::StrContains(path, absl::StrCat(".", tag, ".snapshots.jsonl"))) continue;
    absl::StatusOr<SidecarFile> file = SidecarFile::Open(path);
    if (!file.ok()) {
      ADD_FAILURE() << file.status();
      continue;
    }
    for (size_t i = 0; i < file->size(); ++i) snapshots.emplace_back(file->Document(i));
  }
  return snapshots;
}

POST_VM(TasksAndVariables) {
  int64_t pid = 0, cpus = 0;
  ASSERT_TRUE(absl::SimpleAtoi(NoteOf(result, "pid"), &pid));
  ASSERT_TRUE(absl::SimpleAtoi(NoteOf(result, "cpus"), &cpus));
  EXPECT_THAT(NoteOf(result, "refusal"),
              AllOf(HasSubstr("symbol 'jiffies_46' not found in vmlinux symtab"),
                    HasSubstr("jiffies_64")));
  std::vector<Snapshot> live;
  for (const Report& report : HitsOf(result, "total_forks")) {
    live.emplace_back(report);
    for (const Degraded& degraded : report.degraded) {
      EXPECT_THAT(degraded.what, Not(AnyOf(StartsWith("variables"), HasSubstr("task"))))
          << degraded.why;
    }
  }
  EXPECT_EQ(ExpectForks(live, pid), kForks);
  EXPECT_EQ(ExpectForks(FromSidecar(result, "total_forks"), pid), kForks);

  const std::vector<CaptureEntry> now = result.snapshot_bridge->ByTag("now");
  ASSERT_THAT(now, SizeIs(1));
  ExpectNow(now[0].snapshot(), static_cast<uint64_t>(cpus));
  const std::vector<Snapshot> kept = FromSidecar(result, "now");
  ASSERT_THAT(kept, SizeIs(1));
  ExpectNow(kept[0], static_cast<uint64_t>(cpus));
}

}  // namespace
}  // namespace watchsnap
