// Workers and commands: real processes on this machine, with ordinary files in place of a cgroup
// file system.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/cgroup_files.h"
#include "testing/scenario/cgroup_workers.h"
#include "testing/scenario/run_command.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

// A folder that stands for /sys/fs/cgroup, with a cgroup "spinners".
std::string FakeCgroups() {
  std::string pattern = ::testing::TempDir() + "/cgroups_XXXXXX";
  const std::string root = mkdtemp(pattern.data());
  mkdir((root + "/spinners").c_str(), 0755);
  std::ofstream(root + "/spinners/cgroup.procs");
  return root;
}

char StateOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string number, name;
  char state = '?';
  file >> number >> name >> state;
  return state;
}

TEST(CgroupWorkers, SpinUntilTheyAreEnded) {
  auto workers = CgroupWorkers::Start(CgroupDef::Named("spinners").Workers(2), FakeCgroups());
  ASSERT_TRUE(workers.ok()) << workers.status();
  ASSERT_EQ((*workers)->pids().size(), 2u);
  const std::vector<pid_t> pids = (*workers)->pids();
  for (pid_t pid : pids) EXPECT_EQ(StateOf(pid), 'R') << "a worker does not run";
  EXPECT_TRUE((*workers)->Check().ok());
  workers->reset();
  for (pid_t pid : pids) EXPECT_EQ(kill(pid, 0), -1) << "a worker outlived its step";
}

// Every kind of work gets on, and says what fits it.
TEST(CgroupWorkers, EveryKindWorksAndReports) {
  for (const WorkType work : {WorkType::kSpin, WorkType::kYield, WorkType::kSleep, WorkType::kMixed,
                              WorkType::kForkExit, WorkType::kPipe, WorkType::kFutex}) {
    SCOPED_TRACE(WorkTypeName(work));
    auto workers =
        CgroupWorkers::Start(CgroupDef::Named("spinners").Workers(2).Work(work), FakeCgroups());
    ASSERT_TRUE(workers.ok()) << workers.status();
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    std::vector<WorkerReport> reports;
    do {
      absl::SleepFor(absl::Milliseconds(1));
      reports = (*workers)->Reports();
      ASSERT_EQ(reports.size(), 2u);
    } while ((reports[0].iterations < 3 || reports[1].iterations < 3) && absl::Now() < deadline);
    EXPECT_TRUE((*workers)->Check().ok()) << (*workers)->Check();
    for (const WorkerReport& report : reports) {
      EXPECT_EQ(report.cgroup, "spinners");
      EXPECT_EQ(report.work, WorkTypeName(work));
      EXPECT_GE(report.iterations, 3u);
      const bool runs = work == WorkType::kSpin || work == WorkType::kYield;
      EXPECT_EQ(report.wakeups > 0, !runs);
      EXPECT_EQ(report.latency_max_ns > 0, !runs) << "nothing wakes up in no time";
      EXPECT_GE(report.latency_sum_ns, report.latency_max_ns);
      if (runs) {
        EXPECT_GT(report.longest_gap_ns, 0u);
      }
    }
    EXPECT_EQ(reports[1].index, 1u);
  }
}

TEST(CgroupFiles, ListsOfCpus) {
  EXPECT_THAT(*ParseCpuList("0"), ::testing::ElementsAre(0));
  EXPECT_THAT(*ParseCpuList("0-2,5"), ::testing::ElementsAre(0, 1, 2, 5));
  for (const char* wrong : {"", "a", "1-", "-1", "2-1", "1-2-3", "0,,1", "0-99999"}) {
    EXPECT_EQ(ParseCpuList(wrong).status().code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
}

TEST(CgroupFiles, WhatIsNotThereIsNamed) {
  const std::string root = FakeCgroups();
  EXPECT_THAT(std::string(MoveCgroupTasks("nobody", "spinners", root).message()),
              HasSubstr("nobody/cgroup.procs"));
  EXPECT_THAT(std::string(MoveCgroupTasks("spinners", "nobody", root).message()),
              HasSubstr("has no tasks"));
  EXPECT_THAT(std::string(SetCgroupWeight("spinners", 50, root).message()),
              HasSubstr("cgroup.subtree_control"));
  EXPECT_THAT(std::string(SetCgroupCpuSet("spinners", "0-x", root).message()),
              HasSubstr("'0-x' is no list of CPUs"));
}

TEST(CgroupWorkers, ADeadWorkerIsNoticed) {
  auto workers = CgroupWorkers::Start(CgroupDef::Named("spinners").Workers(2), FakeCgroups());
  ASSERT_TRUE(workers.ok()) << workers.status();
  kill((*workers)->pids()[1], SIGSEGV);
  absl::Status status = absl::OkStatus();
  for (int i = 0; i < 1000 && status.ok(); ++i) {
    absl::SleepFor(absl::Milliseconds(2));
    status = (*workers)->Check();
  }
  EXPECT_THAT(std::string(status.message()), HasSubstr("killed by signal 11"));
}

TEST(CgroupWorkers, WithoutACgroupFileSystemTheyAreRefused) {
  std::string pattern = ::testing::TempDir() + "/plain_XXXXXX";
  auto workers = CgroupWorkers::Start(CgroupDef::Named("x"), mkdtemp(pattern.data()));
  EXPECT_FALSE(workers.ok());
  EXPECT_THAT(std::string(workers.status().message()), HasSubstr("could not join its cgroup"));
}

TEST(RunCommand, TellsHowAProgramEnds) {
  EXPECT_TRUE(RunCommand({"/bin/sh", "-c", "exit 0"}, absl::Seconds(20)).ok());
  EXPECT_THAT(std::string(RunCommand({"/bin/sh", "-c", "exit 3"}, absl::Seconds(20)).message()),
              HasSubstr("/bin/sh exited with 3"));
  EXPECT_THAT(
      std::string(RunCommand({"/bin/sh", "-c", "kill -SEGV $$"}, absl::Seconds(20)).message()),
      HasSubstr("killed by signal 11"));
}

TEST(RunCommand, TellsThatAProgramIsNotThere) {
  const absl::Status status = RunCommand({"/no/such/program"}, absl::Seconds(20));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/no/such/program"));
}

TEST(RunCommand, EndsAProgramThatDoesNotEnd) {
  const absl::Time begin = absl::Now();
  const absl::Status status =
      RunCommand({"/bin/sh", "-c", "exec sleep 1000"}, absl::Milliseconds(50));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
}

}  // namespace
}  // namespace watchsnap
