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
