#include "snapshot/wire/control_client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "snapshot/wire/control_server.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(20);

// A host on the other end of a socket pair: the real ControlServer, fed by a thread.
class Host {
 public:
  explicit Host(ControlHandlers handlers) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    host_fd_ = fds[0];
    guest_fd = fds[1];
    server.emplace(
        [this](absl::Span<const uint8_t> bytes) {
          return send(host_fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                         static_cast<ssize_t>(bytes.size())
                     ? absl::OkStatus()
                     : absl::UnavailableError("send");
        },
        std::move(handlers));
    thread_ = std::thread([this] {
      uint8_t buffer[777];
      for (ssize_t got; (got = read(host_fd_, buffer, sizeof(buffer))) > 0;) {
        server->OnBytes(absl::MakeConstSpan(buffer, static_cast<size_t>(got)));
      }
    });
  }
  ~Host() {
    HangUp();
    thread_.join();
    close(host_fd_);
  }
  void HangUp() { shutdown(host_fd_, SHUT_RDWR); }

  int guest_fd = -1;
  std::optional<ControlServer> server;

 private:
  int host_fd_ = -1;
  std::thread thread_;
};

ControlHandlers Accepting() {
  ControlHandlers handlers;
  handlers.on_hello = [](const Hello& hello) {
    return HelloReply{1500, {{"scenario", hello.scenario}}};
  };
  handlers.on_capture = [](std::string, std::vector<std::string>, Responder responder) {
    responder.Reply(absl::OkStatus());
  };
  handlers.on_watch = [](std::string symbol, const WatchRequestOptions&, Responder responder) {
    responder.Reply(symbol.starts_with("typo")
                        ? absl::NotFoundError("symbol '" + symbol + "' not found in vmlinux symtab")
                        : absl::OkStatus());
  };
  handlers.on_result = [](const ScenarioResult&) { return absl::OkStatus(); };
  return handlers;
}

TEST(ControlClientTest, AWholeConversation) {
  std::string logged;
  ControlHandlers handlers = Accepting();
  handlers.on_log = [&](std::string_view text) { logged = text; };
  ScenarioResult received;
  handlers.on_result = [&](const ScenarioResult& result) {
    received = result;
    return absl::OkStatus();
  };
  Host host(std::move(handlers));
  ControlClient client(host.guest_fd);
  ASSERT_TRUE(client.WaitForHost(kLong).ok());
  const auto options = client.SayHello({.scenario = "Watches"}, kLong);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->hold_ms, 1500u);
  EXPECT_EQ(options->parameters.at("scenario"), "Watches");
  EXPECT_TRUE(client.Ready(kLong).ok());
  EXPECT_TRUE(client.RequestCapture("mid", {}, kLong).ok());
  EXPECT_TRUE(client.RequestWatch("jiffies_64", {}, kLong).ok());
  EXPECT_EQ(client.RequestWatch("typo", {}, kLong),
            absl::NotFoundError("symbol 'typo' not found in vmlinux symtab"));
  const std::string long_symbol = "typo" + std::string(30'000, 'x');
  EXPECT_EQ(client.RequestWatch(long_symbol, {}, kLong),
            absl::NotFoundError("symbol '" + long_symbol + "' not found in vmlinux symtab"));
  EXPECT_TRUE(client.SendLog("a line", kLong).ok());
  EXPECT_TRUE(client.SendResult({true, {"detail"}, "finished"}, kLong).ok());
  EXPECT_EQ(logged, "a line");
  EXPECT_EQ(received.details, std::vector<std::string>{"detail"});
  EXPECT_TRUE(client.SayBye(kLong).ok());
}

TEST(ControlClientTest, DetailsThatDoNotFitAreCutAndSaySo) {
  ScenarioResult received;
  ControlHandlers handlers = Accepting();
  handlers.on_result = [&](const ScenarioResult& result) {
    received = result;
    return absl::OkStatus();
  };
  Host host(std::move(handlers));
  ControlClient client(host.guest_fd);
  const absl::Status status =
      client.SendResult({false,
                         {std::string(50'000, 'a'), std::string(50'000, 'b'), "c", "d"},
                         std::string(90'000, 'e')},
                        kLong);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(received.details.size(), 2u);
  EXPECT_THAT(received.details[0], HasSubstr("(50000 bytes, cut)"));
  EXPECT_THAT(received.details[1], HasSubstr("and 3 more details"));
  EXPECT_TRUE(client.SendResult({false, std::vector<std::string>(5000, "x"), ""}, kLong).ok());
  ASSERT_EQ(received.details.size(), kMaxRepeatedFields);
  EXPECT_THAT(received.details.back(), HasSubstr("and 4001 more details"));
}

TEST(ControlClientTest, AnAnswerThatNeverComesEndsInTheDeadline) {
  Responder held;
  absl::Notification is_held;
  ControlHandlers handlers = Accepting();
  handlers.on_watch = [&](std::string, const WatchRequestOptions&, Responder responder) {
    held = std::move(responder);
    is_held.Notify();
  };
  Host host(std::move(handlers));
  ControlClient client(host.guest_fd);
  const absl::Status status = client.RequestWatch("jiffies_64", {}, absl::Milliseconds(30));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no answer to the watch within 30ms"));
  // The late answer is not taken for the next request's.
  is_held.WaitForNotification();
  held.Reply(absl::InternalError("late"));
  EXPECT_TRUE(client.RequestCapture("mid", {}, kLong).ok());
}

TEST(ControlClientTest, AHostThatGoesAwayEndsTheWait) {
  ControlHandlers handlers = Accepting();
  Host* gone = nullptr;
  handlers.on_capture = [&](std::string, std::vector<std::string>, Responder) { gone->HangUp(); };
  Host host(std::move(handlers));
  gone = &host;
  ControlClient client(host.guest_fd);
  const absl::Time before = absl::Now();
  const absl::Status status = client.RequestCapture("mid", {}, kLong);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_LT(absl::Now() - before, kLong / 2);
}

TEST(ControlClientTest, ATagThatNoFrameCanCarryIsRefusedHere) {
  Host host(Accepting());
  ControlClient client(host.guest_fd);
  EXPECT_EQ(client.RequestCapture(std::string(70'000, 't'), {}, kLong).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(host.server->counters().frames, 0u);
}

TEST(ControlClientTest, AHostThatNeverOpensItsEndIsNotWaitedForForever) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  close(fds[0]);
  ControlClient client(fds[1]);
  EXPECT_EQ(client.WaitForHost(absl::Milliseconds(20)).code(), absl::StatusCode::kUnavailable);
}

TEST(ControlClientTest, OpenSaysWhichPath) {
  const auto client = ControlClient::Open("/nonexistent/vport0p1");
  ASSERT_FALSE(client.ok());
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("/nonexistent/vport0p1"));
}

}  // namespace
}  // namespace watchsnap
