#include "snapshot/wire/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace watchsnap {
namespace {

// How often a port without a host is looked at again: poll() reports a hang-up at once, so it
// cannot be waited for.
constexpr absl::Duration kHostRetry = absl::Milliseconds(5);
constexpr size_t kReadBytes = 4096;

// Milliseconds for poll(), rounded up so that a deadline is not spun on.
int PollTimeout(absl::Time deadline) {
  const absl::Duration left = deadline - absl::Now();
  if (left <= absl::ZeroDuration()) return 0;
  return static_cast<int>(std::min<int64_t>(
      absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))), 1 << 30));
}

// Shortens `details` until they fit a frame, saying how much went.
void FitDetails(ScenarioResult& result) {
  constexpr size_t kBudget = kMaxPayloadBytes - 1024;
  size_t used = std::min<size_t>(result.exit_reason.size(), kBudget / 4);
  if (result.exit_reason.size() > used) {
    absl::StrAppend(&result.exit_reason.erase(used), "… (cut)");
  }
  size_t kept = 0;
  for (; kept < result.details.size() && kept + 1 < kMaxRepeatedFields; ++kept) {
    std::string& detail = result.details[kept];
    const size_t room = kBudget - std::min(kBudget, used);
    if (room < 200) break;
    const size_t size = detail.size();
    if (size + kFieldHeaderBytes > room) {
      absl::StrAppend(&detail.erase(room - 100), "… (", size, " bytes, cut)");
    }
    used += detail.size() + kFieldHeaderBytes;
  }
  if (const size_t dropped = result.details.size() - kept; dropped > 0) {
    result.details.resize(kept);
    result.details.push_back(absl::StrCat("… and ", dropped, " more details that did not fit"));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlClient>> ControlClient::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open the control channel ", path));
  return std::make_unique<ControlClient>(fd);
}

ControlClient::ControlClient(int fd) : fd_(fd) {
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
}

ControlClient::~ControlClient() { close(fd_); }

absl::Status ControlClient::WaitForHost(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    pollfd waiting = {.fd = fd_, .events = POLLOUT, .revents = 0};
    if (poll(&waiting, 1, 0) >= 0 && (waiting.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0) {
      return absl::OkStatus();
    }
    if (absl::Now() >= deadline) {
      return absl::UnavailableError(absl::StrCat(
          "the host has not opened the control channel within ", absl::FormatDuration(timeout)));
    }
    absl::SleepFor(kHostRetry);
  }
}

absl::StatusOr<HelloReply> ControlClient::SayHello(const Hello& hello, absl::Duration timeout) {
  absl::StatusOr<Message> answer = Ask(hello, "HELLO", timeout);
  if (!answer.ok()) return answer.status();
  if (auto* reply = std::get_if<HelloReply>(&*answer)) return *std::move(reply);
  return absl::InternalError("the host answered HELLO with another message");
}

absl::Status ControlClient::Ready(absl::Duration timeout) {
  absl::StatusOr<Message> answer = Ask(watchsnap::Ready{}, "READY", timeout);
  if (!answer.ok()) return answer.status();
  if (std::holds_alternative<Go>(*answer)) return absl::OkStatus();
  return absl::InternalError("the host answered READY with another message");
}

absl::Status ControlClient::RequestCapture(std::string_view tag,
                                           const std::vector<std::string>& variables,
                                           absl::Duration timeout) {
  return AskForStatus(SnapshotRequest{SnapshotRequestKind::kCapture,
                                      std::string(tag),
                                      {.variables = variables}},
                      "the capture", timeout);
}

absl::Status ControlClient::RequestPeriodicCapture(std::string_view tag, absl::Duration timeout) {
  return AskForStatus(SnapshotRequest{SnapshotRequestKind::kPeriodicCapture, std::string(tag), {}},
                      "the capture", timeout);
}

absl::Status ControlClient::RequestWatch(std::string_view symbol,
                                         const WatchRequestOptions& options,
                                         absl::Duration timeout) {
  return AskForStatus(SnapshotRequest{SnapshotRequestKind::kWatch, std::string(symbol), options},
                      "the watch", timeout);
}

absl::Status ControlClient::SendResult(ScenarioResult result, absl::Duration timeout) {
  FitDetails(result);
  return AskForStatus(std::move(result), "the scenario's result", timeout);
}

absl::Status ControlClient::SendLog(std::string_view text, absl::Duration timeout) {
  return Tell(Log{std::string(text)}, timeout);
}

absl::Status ControlClient::SayBye(absl::Duration timeout) { return Tell(Bye{}, timeout); }

void ControlClient::OnFrame(const Frame& frame) {
  absl::StatusOr<Message> message = DecodeMessage(frame);
  if (message.ok()) {
    if (auto* reply = std::get_if<SnapshotReply>(&*message); reply != nullptr && !reply->ok) {
      if (frame.header.sequence == kNoSequence) unattributed_ = reply->reason;
      message = reply->ToStatus();
    }
  }
  // An answer that came after its deadline is nobody's.
  if (awaited_ == kNoSequence || frame.header.sequence != awaited_) return;
  answer_ = std::move(message);
}

void ControlClient::OnBadFrame(const BadFrame& bad) {
  if (bad.sequence.has_value() && bad.sequence == awaited_) {
    answer_ = absl::DataLossError(absl::StrCat("the host's answer is damaged: ", bad.reason));
  } else {
    unattributed_ = absl::StrCat("a frame from the host is damaged: ", bad.reason);
  }
}

absl::StatusOr<Message> ControlClient::Ask(const Message& message, std::string_view what,
                                           absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const absl::Time deadline = absl::Now() + timeout;
  if (++sequence_ == kNoSequence) ++sequence_;
  absl::StatusOr<std::string> frame = EncodeMessage(sequence_, message);
  if (!frame.ok()) return frame.status();
  answer_.reset();
  unattributed_.clear();
  awaited_ = sequence_;
  absl::Status status = WriteAll(*frame, deadline);
  while (status.ok() && !answer_.has_value()) status = ReadSome(deadline);
  awaited_ = kNoSequence;
  // An answer read together with the end of file counts.
  if (answer_.has_value()) return *std::exchange(answer_, std::nullopt);
  return absl::Status(
      status.code(),
      absl::StrCat("no answer to ", what, " within ", absl::FormatDuration(timeout), ": ",
                   status.message(),
                   unattributed_.empty() ? "" : "; the channel's last complaint: ", unattributed_));
}

absl::Status ControlClient::AskForStatus(const Message& message, std::string_view what,
                                         absl::Duration timeout) {
  return Ask(message, what, timeout).status();
}

absl::Status ControlClient::Tell(const Message& message, absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  if (++sequence_ == kNoSequence) ++sequence_;
  absl::StatusOr<std::string> frame = EncodeMessage(sequence_, message);
  if (!frame.ok()) return frame.status();
  return WriteAll(*frame, absl::Now() + timeout);
}

absl::Status ControlClient::WriteAll(std::string_view bytes, absl::Time deadline) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written > 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
      continue;
    }
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno != EAGAIN) {
      return absl::UnavailableError(
          absl::ErrnoToStatus(errno, "write to the control channel").message());
    }
    if (absl::Status status = Poll(POLLOUT, deadline); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ControlClient::ReadSome(absl::Time deadline) {
  uint8_t buffer[kReadBytes];
  const ssize_t got = read(fd_, buffer, sizeof(buffer));
  if (got > 0) {
    decoder_.Feed(absl::MakeConstSpan(buffer, static_cast<size_t>(got)), *this);
    return absl::OkStatus();
  }
  if (got == 0) return absl::UnavailableError("the host closed the control channel");
  if (errno == EINTR) return absl::OkStatus();
  if (errno != EAGAIN) {
    return absl::UnavailableError(
        absl::ErrnoToStatus(errno, "read from the control channel").message());
  }
  return Poll(POLLIN, deadline);
}

absl::Status ControlClient::Poll(short events, absl::Time deadline) {
  pollfd waiting = {.fd = fd_, .events = events, .revents = 0};
  const int ready = poll(&waiting, 1, PollTimeout(deadline));
  if (ready < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "poll the control channel");
  if (ready > 0 && (waiting.revents & events) == 0) {
    return absl::UnavailableError("the host closed the control channel");
  }
  if (absl::Now() >= deadline && ready <= 0) return absl::DeadlineExceededError("time is up");
  return absl::OkStatus();
}

}  // namespace watchsnap
