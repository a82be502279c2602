// The process that runs a scenario, against a control server in this program: no guest, real
// processes.
#include "testing/guest/scenario_process.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/wire/control_client.h"
#include "snapshot/wire/control_server.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A host that keeps the results it is sent.
class ScenarioProcessTest : public ::testing::Test {
 protected:
  // What the host heard of a process that ran `function`.
  ScenarioResult Run(ScenarioFunction function, absl::Duration timeout = absl::Seconds(30)) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    int results = 0;
    ScenarioResult heard;
    ControlServer server(
        [&](absl::Span<const uint8_t> bytes) {
          return write(fds[0], bytes.data(), bytes.size()) < 0 ? absl::UnavailableError("gone")
                                                               : absl::OkStatus();
        },
        {.on_result = [&](const ScenarioResult& result) {
          ++results;
          heard = result;
          return absl::OkStatus();
        }});
    {
      ControlClient client(fds[1]);
      ScenarioContext ctx("Example");
      ctx.set_channel(&client, fds[1]);
      std::thread host([&] {
        uint8_t buffer[4096];
        for (ssize_t got; (got = read(fds[0], buffer, sizeof(buffer))) > 0;) {
          server.OnBytes(absl::MakeConstSpan(buffer, static_cast<size_t>(got)));
        }
      });
      RunScenarioProcess({.name = "Example", .scenario = function}, ctx, timeout);
      shutdown(fds[1], SHUT_WR);
      host.join();
    }
    close(fds[0]);
    EXPECT_EQ(results, 1) << "the host must be told exactly once";
    return heard;
  }
};

TEST_F(ScenarioProcessTest, SendsWhatTheScenarioReturned) {
  const ScenarioResult failed = Run([](ScenarioContext&) -> absl::StatusOr<AssertResult> {
    return AssertResult::Fail("three things were wanted");
  });
  EXPECT_FALSE(failed.passed);
  EXPECT_THAT(failed.details, ElementsAre("three things were wanted"));
  EXPECT_TRUE(Run([](ScenarioContext&) -> absl::StatusOr<AssertResult> {
                return AssertResult::Pass();
              }).passed);
}

TEST_F(ScenarioProcessTest, AnErrorIsAFailureThatSaysSo) {
  const ScenarioResult result = Run([](ScenarioContext&) -> absl::StatusOr<AssertResult> {
    return absl::NotFoundError("no cgroup2");
  });
  EXPECT_FALSE(result.passed);
  ASSERT_EQ(result.details.size(), 1u);
  EXPECT_THAT(result.details[0], HasSubstr("no cgroup2"));
}

TEST_F(ScenarioProcessTest, ACrashIsTold) {
  const ScenarioResult result = Run([](ScenarioContext&) -> absl::StatusOr<AssertResult> {
    raise(SIGKILL);
    return AssertResult::Pass();
  });
  EXPECT_FALSE(result.passed);
  ASSERT_EQ(result.details.size(), 1u);
  EXPECT_THAT(result.details[0], HasSubstr("killed by signal 9"));
}

TEST_F(ScenarioProcessTest, AnExitIsTold) {
  const ScenarioResult result =
      Run([](ScenarioContext&) -> absl::StatusOr<AssertResult> { _exit(42); });
  EXPECT_FALSE(result.passed);
  ASSERT_EQ(result.details.size(), 1u);
  EXPECT_THAT(result.details[0], HasSubstr("exited with 42"));
}

TEST_F(ScenarioProcessTest, AHangIsEndedAndTold) {
  const ScenarioResult result = Run(
      [](ScenarioContext&) -> absl::StatusOr<AssertResult> {
        while (true) pause();
      },
      absl::Milliseconds(50));
  EXPECT_FALSE(result.passed);
  ASSERT_EQ(result.details.size(), 1u);
  EXPECT_THAT(result.details[0], HasSubstr("did not end within 50ms"));
}

}  // namespace
}  // namespace watchsnap
