// The executor in process: against a bridge with callbacks, and over a channel to a server in
// another thread.
#include "testing/scenario/execute_steps.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/wire/control_client.h"
#include "snapshot/wire/control_server.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class ExecuteStepsTest : public ::testing::Test {
 protected:
  // A bridge whose callbacks write down what they are asked; `refusal` answers registrations.
  SnapshotBridge MakeBridge() {
    return SnapshotBridge([this](std::string_view tag) -> absl::StatusOr<Report> {
             captured_.emplace_back(tag);
             return Report{};
           })
        .WithWatchRegister([this](std::string_view symbol) {
          registered_.emplace_back(symbol);
          return refusal_;
        });
  }

  std::vector<std::string> captured_;
  std::vector<std::string> registered_;
  absl::Status refusal_ = absl::OkStatus();
  ScenarioContext ctx_{"UnitTest"};
};

TEST_F(ExecuteStepsTest, TheFourthWatchFailsTheStepInOneDetail) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx_, {Step{.setup = {CgroupDef::Named("cg").Workers(2)},
                               .ops = {Op::WatchSnapshot("kernel.a"), Op::WatchSnapshot("kernel.b"),
                                       Op::WatchSnapshot("kernel.c"), Op::WatchSnapshot("kernel.d"),
                                       Op::Snapshot("never")},
                               .hold = HoldSpec::Full()}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->passed);
  ASSERT_EQ(result->details.size(), 1u);
  EXPECT_THAT(result->details[0].message,
              StartsWith("Op::WatchSnapshot cap exceeded: scenario already registered 3 "
                         "watchpoints (3 user watchpoint slots "
                         "occupied; slot 0 reserved for the error-class exit_kind trigger)"));
  EXPECT_THAT(result->details[0].message, HasSubstr("kernel.d"));
  EXPECT_EQ(result->details[0].step, 0);
  EXPECT_EQ(result->details[0].op, 3);
  EXPECT_THAT(registered_, ElementsAre("kernel.a", "kernel.b", "kernel.c"));
  EXPECT_THAT(captured_, IsEmpty()) << "an op ran after the one that failed";
  ASSERT_EQ(ctx_.recorded_cgroups().size(), 1u);
  EXPECT_EQ(ctx_.recorded_cgroups()[0].name(), "cg");
  EXPECT_EQ(ctx_.recorded_cgroups()[0].workers(), 2);
}

TEST_F(ExecuteStepsTest, AFailedRegistrationLeavesItsPlaceFree) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  for (int attempt = 0; attempt < 5; ++attempt) {
    refusal_ = absl::NotFoundError("symbol 'kernel.typo' not found in vmlinux symtab");
    absl::StatusOr<AssertResult> refused =
        ExecuteSteps(ctx_, {Step{.ops = {Op::WatchSnapshot("kernel.typo")}}});
    ASSERT_TRUE(refused.ok()) << refused.status();
    EXPECT_FALSE(refused->passed);
    ASSERT_EQ(refused->details.size(), 1u);
    EXPECT_THAT(refused->details[0].message,
                HasSubstr("symbol 'kernel.typo' not found in vmlinux symtab"));
  }
  refusal_ = absl::OkStatus();
  absl::StatusOr<AssertResult> all = ExecuteSteps(
      ctx_, {Step{.ops = {Op::WatchSnapshot("kernel.a"), Op::WatchSnapshot("kernel.b")}},
             Step{.ops = {Op::WatchSnapshot("kernel.c")}}});
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_TRUE(all->passed);
  EXPECT_THAT(all->details, IsEmpty());
}

TEST_F(ExecuteStepsTest, WatchesStayAcrossCallsUpToTheCap) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  for (const char* symbol : {"kernel.a", "kernel.b", "kernel.c"}) {
    EXPECT_TRUE(ExecuteSteps(ctx_, {Step{.ops = {Op::WatchSnapshot(symbol)}}})->passed) << symbol;
  }
  EXPECT_FALSE(ExecuteSteps(ctx_, {Step{.ops = {Op::WatchSnapshot("kernel.d")}}})->passed);
}

TEST_F(ExecuteStepsTest, ABridgeWithoutRegisterWatchNamesTheMissingWiring) {
  SnapshotBridge bridge([](std::string_view) -> absl::StatusOr<Report> { return Report{}; });
  auto guard = bridge.SetThreadLocal();
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx_, {Step{.ops = {Op::WatchSnapshot("kernel.a")}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->passed);
  ASSERT_EQ(result->details.size(), 1u);
  EXPECT_THAT(result->details[0].message, HasSubstr("register_watch"));
  EXPECT_THAT(result->details[0].message, HasSubstr("kernel.a"));
}

TEST_F(ExecuteStepsTest, TheHostsReasonReachesTheDetail) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  for (const absl::Status& reason :
       {absl::InternalError("KVM_SET_GUEST_DEBUG on vCPU 1: Input/output error"),
        absl::ResourceExhaustedError("all 3 user watchpoint slots are taken")}) {
    refusal_ = reason;
    absl::StatusOr<AssertResult> result =
        ExecuteSteps(ctx_, {Step{.ops = {Op::WatchSnapshot("kernel.a")}}});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_FALSE(result->passed);
    ASSERT_EQ(result->details.size(), 1u);
    EXPECT_THAT(result->details[0].message, HasSubstr(std::string(reason.message())));
    EXPECT_THAT(result->details[0].message, HasSubstr("kernel.a"));
  }
}

TEST_F(ExecuteStepsTest, OpsRunInOrderAndCommandsAreRecorded) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  int calls = 0;
  const absl::Time begin = absl::Now();
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx_,
      {Step{.ops = {Op::Snapshot("before"),
                    Op::Run("count",
                            [&](ScenarioContext&) {
                              ++calls;
                              return absl::OkStatus();
                            }),
                    Op::Run({"/bin/true", "--now"}), Op::Snapshot("after"), Op::Snapshot("after")},
            .hold = HoldSpec::For(absl::Milliseconds(20))}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->passed);
  EXPECT_EQ(calls, 1);
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(20)) << "the step was not held";
  EXPECT_THAT(captured_, ElementsAre("before", "after", "after"));
  EXPECT_THAT(ctx_.recorded_commands(), ElementsAre(ElementsAre("/bin/true", "--now")));
  EXPECT_EQ(bridge.ByTag("after").size(), 2u);
}

TEST_F(ExecuteStepsTest, WhatNeedsAGuestIsRecorded) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx_, Backdrop{.setup = {CgroupDef::Named("behind").Work(WorkType::kSleep)}},
      {Step{.setup = {CgroupDef::Named("front").Work(WorkType::kPipe).CpuSet("0-1").Weight(50)},
            .ops = {Op::StartScheduler("fifo"), Op::MoveTasks("front", "behind"),
                    Op::SetAffinity("front", "1"), Op::SetWeight("behind", 200),
                    Op::StopScheduler()}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->passed);
  EXPECT_THAT(ctx_.recorded_ops(),
              ElementsAre("Op::StartScheduler(\"fifo\")", "Op::MoveTasks(\"front\", \"behind\")",
                          "Op::SetAffinity(\"front\", \"1\")", "Op::SetWeight(\"behind\", 200)",
                          "Op::StopScheduler()"));
  ASSERT_EQ(ctx_.recorded_cgroups().size(), 2u);
  EXPECT_EQ(ctx_.recorded_cgroups()[0].name(), "behind");
  EXPECT_EQ(ctx_.recorded_cgroups()[1].work(), WorkType::kPipe);
  EXPECT_EQ(ctx_.recorded_cgroups()[1].cpu_set(), "0-1");
  EXPECT_EQ(ctx_.recorded_cgroups()[1].weight(), 50);
}

TEST_F(ExecuteStepsTest, AHoldUntilAConditionEndsWithIt) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  int asked = 0;
  const Condition third_time = {
      "the third time", [&](ScenarioContext&) -> absl::StatusOr<bool> { return ++asked == 3; }};
  EXPECT_TRUE(
      ExecuteSteps(ctx_, {Step{.hold = HoldSpec::Until(third_time, absl::Seconds(30))}})->passed);
  EXPECT_EQ(asked, 3);
  const Condition never = {"never", [](ScenarioContext&) -> absl::StatusOr<bool> { return false; }};
  absl::StatusOr<AssertResult> late =
      ExecuteSteps(ctx_, {Step{.hold = HoldSpec::Until(never, absl::Milliseconds(30))}});
  ASSERT_EQ(late->details.size(), 1u);
  EXPECT_EQ(late->details[0].message, "'never' did not come true within 30ms [step 0, hold]");
  const Condition broken = {
      "broken", [](ScenarioContext&) -> absl::StatusOr<bool> { return absl::AbortedError("no"); }};
  EXPECT_FALSE(ExecuteSteps(ctx_, {Step{.hold = HoldSpec::Until(broken)}})->passed);
}

TEST_F(ExecuteStepsTest, PeriodicCapturesLieInTheMiddleOfTheHold) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  const absl::Time begin = absl::Now();
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx_, {Step{.hold = HoldSpec::For(absl::Milliseconds(100)), .num_periodic = 4}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->passed);
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(100));
  EXPECT_THAT(captured_, ElementsAre(kPeriodicTag, kPeriodicTag, kPeriodicTag, kPeriodicTag));
  absl::StatusOr<AssertResult> endless = ExecuteSteps(ctx_, {Step{.num_periodic = 1}});
  EXPECT_FALSE(endless->passed);
  EXPECT_THAT(endless->details[0].message, HasSubstr("needs a hold whose length is known"));
}

TEST_F(ExecuteStepsTest, AFailingFunctionFailsItsStepAndLaterStepsDoNotRun) {
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx_, {Step{.ops = {Op::Run("refuse",
                                  [](ScenarioContext&) { return absl::AbortedError("no luck"); })},
                  .hold = HoldSpec::For(absl::Hours(1))},
             Step{.ops = {Op::Snapshot("never")}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->passed);
  ASSERT_EQ(result->details.size(), 1u);
  EXPECT_EQ(result->details[0].message, "no luck [step 0, op 0: Op::Run(\"refuse\")]");
  EXPECT_THAT(captured_, IsEmpty());
}

TEST_F(ExecuteStepsTest, WithoutBridgeOrChannelNothingRuns) {
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx_, {Step{.ops = {Op::WatchSnapshot("kernel.a")}}});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("SetThreadLocal"));
}

// The host's end of a channel, in a thread of its own.
class FakeHost {
 public:
  explicit FakeHost(ControlHandlers handlers)
      : server_([this](absl::Span<const uint8_t> bytes) { return Send(bytes); },
                std::move(handlers)) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    host_fd_ = fds[0];
    guest_fd_ = fds[1];
    client_ = std::make_unique<ControlClient>(guest_fd_);
    thread_ = std::thread([this] {
      uint8_t buffer[4096];
      for (ssize_t got; (got = read(host_fd_, buffer, sizeof(buffer))) > 0;) {
        server_.OnBytes(absl::MakeConstSpan(buffer, static_cast<size_t>(got)));
      }
    });
  }
  ~FakeHost() {
    client_.reset();
    thread_.join();
    close(host_fd_);
  }

  ControlClient& client() { return *client_; }
  int guest_fd() const { return guest_fd_; }

 private:
  absl::Status Send(absl::Span<const uint8_t> bytes) {
    return write(host_fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size())
               ? absl::OkStatus()
               : absl::UnavailableError("the guest is gone");
  }

  int host_fd_ = -1;
  int guest_fd_ = -1;
  ControlServer server_;
  std::unique_ptr<ControlClient> client_;
  std::thread thread_;
};

TEST_F(ExecuteStepsTest, OverAChannelOpsBecomeRequests) {
  std::vector<std::string> asked;
  std::vector<WatchRequestOptions> options;
  FakeHost host(
      {.on_capture =
           [&](std::string tag, std::vector<std::string> variables, Responder responder) {
             asked.push_back("capture " + tag);
             for (const std::string& name : variables) asked.push_back("with " + name);
             responder.Reply(absl::OkStatus());
           },
       .on_periodic_capture =
           [&](std::string tag, std::vector<std::string>, Responder responder) {
             asked.push_back("periodic " + tag);
             responder.Reply(absl::OkStatus());
           },
       .on_watch =
           [&](std::string symbol, const WatchRequestOptions& given, Responder responder) {
             asked.push_back("watch " + symbol);
             options.push_back(given);
             responder.Reply(symbol == "typo"
                                 ? absl::NotFoundError("symbol 'typo' not found in vmlinux symtab")
                                 : absl::OkStatus());
           }});
  ctx_.set_channel(&host.client(), host.guest_fd());
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx_, {Step{.ops = {Op::WatchSnapshot("jiffies_64"),
                          Op::WatchSnapshot("total_forks", WatchOptions{.max_captures = 7}),
                          Op::Snapshot("now")},
                  .hold = HoldSpec::For(absl::Milliseconds(5)),
                  .num_periodic = 1},
             Step{.ops = {Op::WatchSnapshot("typo"), Op::Snapshot("never")}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->passed);
  ASSERT_EQ(result->details.size(), 1u);
  EXPECT_EQ(
      result->details[0].message,
      "symbol 'typo' not found in vmlinux symtab [step 1, op 0: Op::WatchSnapshot(\"typo\")]");
  EXPECT_THAT(asked, ElementsAre("watch jiffies_64", "watch total_forks", "capture now",
                                 "periodic periodic", "watch typo"));
  ASSERT_EQ(options.size(), 3u);
  EXPECT_FALSE(options[0].max_captures.has_value()) << "the host's default was overridden";
  EXPECT_EQ(options[1].max_captures, 7u);
}

TEST_F(ExecuteStepsTest, AnActiveBridgeComesBeforeTheChannel) {
  FakeHost host({});  // refuses everything
  ctx_.set_channel(&host.client(), host.guest_fd());
  SnapshotBridge bridge = MakeBridge();
  auto guard = bridge.SetThreadLocal();
  EXPECT_TRUE(ExecuteSteps(ctx_, {Step{.ops = {Op::WatchSnapshot("kernel.a")}}})->passed);
}

TEST(ExpectFailureTest, IsForExactlyOneDetailWithTheText) {
  EXPECT_TRUE(ExpectFailure(AssertResult::Fail("symbol 'x' not found"), "not found").passed);
  EXPECT_FALSE(ExpectFailure(AssertResult::Fail("other"), "not found").passed);
  EXPECT_FALSE(ExpectFailure(AssertResult::Pass(), "not found").passed);
  AssertResult two = AssertResult::Fail("symbol 'x' not found");
  two.AddFailure("and more");
  EXPECT_FALSE(ExpectFailure(two, "not found").passed);
}

}  // namespace
}  // namespace watchsnap
