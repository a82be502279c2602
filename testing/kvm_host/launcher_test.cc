// Starts real machines: each test takes a few seconds.
#include "testing/kvm_host/launcher.h"

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;
using ::testing::internal::CaptureStderr;
using ::testing::internal::CaptureStdout;
using ::testing::internal::GetCapturedStderr;
using ::testing::internal::GetCapturedStdout;

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

KvmHostOptions Shell(const std::string& script) {
  KvmHostOptions options;
  options.argv = {"/bin/bash", "-c", script};
  options.env = {"OUT=" + ::testing::TempDir()};
  options.writable = {::testing::TempDir()};
  options.timeout = absl::Seconds(120);
  return options;
}

TEST(LauncherTest, StreamsFilesEnvironmentAndExitCodeComeThrough) {
  CaptureStdout();
  CaptureStderr();
  const auto code = RunInKvmHost(Shell(R"(
    set -e
    printf 'binary \000\001\r\n'        # as it is, to stdout
    echo to stderr >&2
    head -c 300000 /dev/zero | tr '\0' x
    [ "$WATCHSNAP_INSIDE_KVM_HOST" = 1 ]
    [ -c /dev/kvm ]
    echo scratch > /tmp/scratch; cat /tmp/scratch > "$OUT/result"
    ! touch /etc/watchsnap-was-here 2>/dev/null
    (sleep 1000 &)                      # must not hold anything up
    exit 42)"));
  const std::string out = GetCapturedStdout(), err = GetCapturedStderr();
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 42);
  EXPECT_EQ(out, std::string("binary \0\1\r\n", 11) + std::string(300000, 'x'));
  EXPECT_EQ(err, "to stderr\n");
  EXPECT_EQ(ReadFile(::testing::TempDir() + "/result"), "scratch\n");
  EXPECT_NE(access("/tmp/scratch", F_OK), 0);
}

TEST(LauncherTest, ACommandThatIsNotThereIsNamed) {
  KvmHostOptions options;
  options.argv = {"no-such-command"};
  CaptureStderr();
  const auto code = RunInKvmHost(options);
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("cannot run no-such-command: No such file"));
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 127);
}

TEST(LauncherTest, PastItsTimeTheCommandMayStillFlush) {
  KvmHostOptions options =
      Shell("trap 'echo flushed > $OUT/flushed; exit 3' TERM; while :; do sleep 0.1; done");
  options.timeout = absl::Seconds(2);
  EXPECT_EQ(RunInKvmHost(options).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ReadFile(::testing::TempDir() + "/flushed"), "flushed\n");
}

TEST(LauncherTest, SignalsReachTheCommand) {
  const std::string ready = ::testing::TempDir() + "/ready";
  const pid_t self = getpid();
  // A separate process, so that this one has no thread that could take the signal.
  const pid_t killer = fork();
  if (killer == 0) {
    while (access(ready.c_str(), F_OK) != 0) usleep(10000);
    kill(self, SIGINT);
    _exit(0);
  }
  const auto code =
      RunInKvmHost(Shell("trap 'exit 7' INT; touch $OUT/ready; while :; do sleep 0.1; done"));
  kill(killer, SIGKILL);
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(*code, 7);
}

TEST(LauncherTest, OptionsThatMakeNoSenseStartNoMachine) {
  EXPECT_EQ(RunInKvmHost({}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace watchsnap
