// A guest gone mad on the control port: over a thousand mutated frames and stray text through the
// real virtqueue. Each frame gets its negative answer, the machine runs on, and the next good
// request works.
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <string>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/wire/messages.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"
#include "testing/scenarios/guest_kernel.h"
#include "testing/scenarios/mutated_frames.h"

namespace watchsnap {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kFrames = 1500;
constexpr int kFramesBetweenNoise = 50;
constexpr uint32_t kSeed = 20260101;
constexpr absl::Duration kAnswerTimeout = absl::Seconds(60);

// The port as a mad guest uses it: raw bytes out, answers counted.
class RawPort : private FrameSink {
 public:
  explicit RawPort(int fd) : fd_(fd) {}

  absl::Status Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
      if (written < 0 && errno != EAGAIN && errno != EINTR)
        return absl::ErrnoToStatus(errno, "write");
      if (absl::Status status = Drain(written > 0 ? absl::ZeroDuration() : absl::Seconds(10));
          !status.ok())
        return status;
    }
    return absl::OkStatus();
  }

  absl::Status AwaitRefusals(uint64_t wanted) {
    const absl::Time deadline = absl::Now() + kAnswerTimeout;
    while (refusals_ < wanted) {
      if (absl::Now() > deadline) {
        return absl::DeadlineExceededError(
            absl::StrCat(wanted, " negative answers were due, ", refusals_, " came"));
      }
      if (absl::Status status = Drain(absl::Milliseconds(100)); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  uint64_t refusals() const { return refusals_; }
  uint64_t others() const { return others_; }

 private:
  // Reads what there is, waiting up to `wait` for the port to become readable or writable.
  absl::Status Drain(absl::Duration wait) {
    pollfd waiting = {
        .fd = fd_,
        .events = static_cast<short>(wait > absl::ZeroDuration() ? POLLIN | POLLOUT : POLLIN),
        .revents = 0};
    if (wait >= absl::Milliseconds(1) && wait < absl::Seconds(1)) waiting.events = POLLIN;
    if (poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(wait))) < 0 &&
        errno != EINTR) {
      return absl::ErrnoToStatus(errno, "poll");
    }
    if ((waiting.revents & POLLIN) == 0) return absl::OkStatus();
    uint8_t buffer[4096];
    const ssize_t got = read(fd_, buffer, sizeof(buffer));
    if (got == 0) return absl::UnavailableError("the host closed the port");
    if (got > 0) decoder_.Feed(absl::MakeConstSpan(buffer, static_cast<size_t>(got)), *this);
    return absl::OkStatus();
  }

  void OnFrame(const Frame& frame) override {
    const absl::StatusOr<Message> message = DecodeMessage(frame);
    const auto* reply = message.ok() ? std::get_if<SnapshotReply>(&*message) : nullptr;
    ++(reply != nullptr && !reply->ok ? refusals_ : others_);
  }
  void OnBadFrame(const BadFrame&) override { ++others_; }

  const int fd_;
  FrameDecoder decoder_;
  uint64_t refusals_ = 0;
  uint64_t others_ = 0;
};

absl::Status GoMad(ScenarioContext& ctx, AssertResult& notes) {
  FrameMutator mutator(kSeed);
  StreamOracle oracle;
  RawPort port(ctx.channel_fd());
  for (int i = 0; i < kFrames; ++i) {
    std::string bytes = mutator.Next();
    if (i % kFramesBetweenNoise == 0) bytes += "stray text on the port\n";
    oracle.Feed(bytes);
    if (absl::Status status = port.Write(bytes); !status.ok()) return status;
  }
  // A good frame ends whatever the last one left open; refused for its name, so that it is counted.
  absl::StatusOr<std::string> last = EncodeMessage(
      kFrames + 1, SnapshotRequest{SnapshotRequestKind::kWatch, "no_such_symbol", {}});
  if (!last.ok()) return last.status();
  oracle.Feed(*last);
  if (absl::Status status = port.Write(*last); !status.ok()) return status;
  if (absl::Status status = port.AwaitRefusals(oracle.expected_refusals()); !status.ok())
    return status;
  if (port.refusals() != oracle.expected_refusals() || port.others() != 0) {
    return absl::InternalError(absl::StrCat(oracle.expected_refusals(),
                                            " negative answers were due; ", port.refusals(),
                                            " came, and ", port.others(), " other frames"));
  }
  notes.AddNote(absl::StrCat("refusals=", port.refusals()));
  notes.AddNote(absl::StrCat("resyncs=", oracle.resyncs()));
  return absl::OkStatus();
}

WATCH_SCENARIO(MalformedFrames) {
  AssertResult notes;
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx,
      {Step{
          .ops = {Op::Run("go mad", [&](ScenarioContext& inner) { return GoMad(inner, notes); }),
                  Op::WatchSnapshot("total_forks"),
                  Op::Run("make processes", [](ScenarioContext&) { return MakeProcesses(3); })}}});
  if (result.ok()) result->Merge(notes);
  return result;
}

POST_VM(MalformedFrames) {
  EXPECT_EQ(result.end.kind, RunEndKind::kPowerOff) << result.end.detail;
  uint64_t refusals = 0, resyncs = 0;
  ASSERT_TRUE(absl::SimpleAtoi(NoteOf(result, "refusals"), &refusals));
  ASSERT_TRUE(absl::SimpleAtoi(NoteOf(result, "resyncs"), &resyncs));
  EXPECT_GE(refusals, 1000u);
  EXPECT_EQ(result.control.replies_error, refusals) << "as many as the guest got";
  EXPECT_EQ(result.control.replies_lost, 0u);
  EXPECT_GE(result.control.bad_frames, 700u);
  EXPECT_EQ(result.control.resyncs, resyncs);
  EXPECT_GE(result.control.resyncs, static_cast<uint64_t>(kFrames / kFramesBetweenNoise));
  EXPECT_THAT(HitsOf(result, "total_forks"), Not(IsEmpty())) << "the next good request works";
  EXPECT_EQ(result.watches.size(), 1u);
}

}  // namespace
}  // namespace watchsnap
