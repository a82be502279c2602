#include "testing/kvm_host/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "testing/kvm_host/emulator.h"
#include "testing/kvm_host/job.h"
#include "testing/kvm_host/parts.h"
#include "testing/kvm_host/protocol.h"

namespace watchsnap {
namespace {

using ::watchsnap::kvm_host::Emulator;
using ::watchsnap::kvm_host::FrameType;

constexpr absl::Duration kBootTimeout = absl::Minutes(3);  // 3 s on an idle machine
constexpr absl::Duration kGrace = absl::Seconds(10);
constexpr size_t kLogKept = 4000;

// Signals meant for the command, readable from a file descriptor while this lives.
class SignalReader {
 public:
  SignalReader() {
    sigset_t signals;
    sigemptyset(&signals);
    for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&signals, number);
    pthread_sigmask(SIG_BLOCK, &signals, &previous_);
    fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~SignalReader() {
    close(fd_);
    pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
  }
  int fd() const { return fd_; }
  // 0 if none is pending.
  int Next() {
    signalfd_siginfo info;
    return read(fd_, &info, sizeof(info)) == sizeof(info) ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  sigset_t previous_;
  int fd_;
};

bool WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data.remove_prefix(n);
  }
  return true;
}

// One run of one command: the conversation with the agent.
class Session {
 public:
  Session(Emulator& emulator, std::string job, absl::Duration timeout)
      : emulator_(emulator), job_(std::move(job)), timeout_(timeout) {}

  absl::StatusOr<int> Run() {
    // The log must never stall the machine, nor this loop.
    fcntl(emulator_.log(), F_SETFL, O_NONBLOCK);
    while (true) {
      pollfd fds[] = {{emulator_.port(), POLLIN, 0},
                      {log_open_ ? emulator_.log() : -1, POLLIN, 0},
                      {signals_.fd(), POLLIN, 0}};
      if (poll(fds, 3, PollTimeout()) < 0 && errno != EINTR) {
        return absl::ErrnoToStatus(errno, "waiting for the emulated KVM host");
      }
      if (fds[1].revents != 0) ReadLog();
      while (const int number = signals_.Next()) OnSignal(number);
      if (fds[0].revents != 0) {
        if (absl::Status status = ReadPort(); !status.ok()) return status;
        if (exit_code_.has_value()) break;
      }
      if (absl::Status status = CheckTime(); !status.ok()) return status;
      if (killed_) return timed_out_ ? TimedOut() : absl::StatusOr<int>(128 + stop_signal_);
    }
    if (timed_out_) return TimedOut();
    return *exit_code_;
  }

 private:
  absl::Status TimedOut() const {
    return absl::DeadlineExceededError(
        absl::StrCat("the command did not end in time in the emulated KVM host (",
                     absl::FormatDuration(absl::Now() - start_), ")", LastWords()));
  }

  absl::Time NextDeadline() const {
    if (stop_signal_ != 0) return kill_at_;
    return deadline_;
  }

  int PollTimeout() const {
    const absl::Time next = NextDeadline();
    if (next == absl::InfiniteFuture()) return -1;
    const int64_t ms = absl::ToInt64Milliseconds(next - absl::Now()) + 1;
    return static_cast<int>(std::clamp<int64_t>(ms, 0, 3600 * 1000));
  }

  absl::Status CheckTime() {
    if (absl::Now() < NextDeadline()) return absl::OkStatus();
    if (stop_signal_ != 0) {
      killed_ = true;
    } else if (!started_) {
      return absl::UnavailableError(absl::StrCat("the emulated KVM host did not start in ",
                                                 absl::FormatDuration(absl::Now() - start_),
                                                 LastWords()));
    } else {
      timed_out_ = true;
      Stop(SIGTERM);
    }
    return absl::OkStatus();
  }

  void OnSignal(int number) {
    if (stop_signal_ != 0 || !started_) {
      stop_signal_ = number;
      killed_ = true;
    } else {
      Stop(number);
    }
  }

  // Asks the command to end; it may flush what it has.
  void Stop(int number) {
    stop_signal_ = number;
    kill_at_ = absl::Now() + kGrace;
    const char byte = static_cast<char>(number);
    (void)!send(emulator_.port(), &byte, 1, MSG_NOSIGNAL);
  }

  void ReadLog() {
    char buffer[4096];
    const ssize_t n = read(emulator_.log(), buffer, sizeof(buffer));
    if (n == 0) log_open_ = false;
    if (n <= 0) return;
    if (getenv("WATCHSNAP_KVM_HOST_LOG") != nullptr) WriteAll(2, std::string_view(buffer, n));
    log_.append(buffer, n);
    if (log_.size() > 2 * kLogKept) log_.erase(0, log_.size() - kLogKept);
  }

  std::string LastWords() const {
    return log_.empty() ? std::string() : absl::StrCat(". Its last words:\n", log_);
  }

  absl::Status ReadPort() {
    char buffer[65536];
    const ssize_t n = read(emulator_.port(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) return absl::OkStatus();
    if (n <= 0) {
      ReadLog();
      return absl::UnavailableError(
          absl::StrCat("the emulated KVM host ended without an answer", LastWords()));
    }
    input_.append(buffer, n);
    size_t at = 0;
    while (input_.size() - at >= kvm_host::kFrameHeaderSize) {
      uint32_t size = 0;
      for (int i = 0; i < 4; ++i)
        size |= uint32_t{static_cast<uint8_t>(input_[at + 1 + i])} << (8 * i);
      if (input_.size() - at - kvm_host::kFrameHeaderSize < size) break;
      const FrameType type = static_cast<FrameType>(input_[at]);
      const std::string_view payload(&input_[at + kvm_host::kFrameHeaderSize], size);
      if (absl::Status status = OnFrame(type, payload); !status.ok()) return status;
      at += kvm_host::kFrameHeaderSize + size;
    }
    input_.erase(0, at);
    return absl::OkStatus();
  }

  absl::Status OnFrame(FrameType type, std::string_view payload) {
    switch (type) {
      case kvm_host::kReady:
        if (!WriteAll(emulator_.port(), job_)) {
          return absl::ErrnoToStatus(errno, "handing the command to the emulated KVM host");
        }
        return absl::OkStatus();
      case kvm_host::kStarted:
        started_ = true;
        deadline_ = absl::Now() + timeout_;
        return absl::OkStatus();
      case kvm_host::kStdout:
      case kvm_host::kStderr:
        // A reader that has gone away is the command's to notice, not ours: it ends when it wants
        // to.
        WriteAll(type == kvm_host::kStdout ? 1 : 2, payload);
        return absl::OkStatus();
      case kvm_host::kError:
        return absl::UnavailableError(absl::StrCat("the emulated KVM host failed: ", payload));
      case kvm_host::kExit: {
        int code;
        if (!absl::SimpleAtoi(payload, &code)) break;
        exit_code_ = code;
        return absl::OkStatus();
      }
    }
    return absl::InternalError("the emulated KVM host's agent sent a frame that makes no sense");
  }

  Emulator& emulator_;
  const std::string job_;
  const absl::Duration timeout_;
  const absl::Time start_ = absl::Now();
  absl::Time deadline_ = start_ + kBootTimeout;  // once the command has started, its own
  SignalReader signals_;
  std::string input_, log_;
  bool log_open_ = true, started_ = false, timed_out_ = false, killed_ = false;
  int stop_signal_ = 0;
  absl::Time kill_at_ = absl::InfiniteFuture();
  std::optional<int> exit_code_;
};

}  // namespace

bool InsideKvmHost() {
  const char* value = getenv("WATCHSNAP_INSIDE_KVM_HOST");
  return value != nullptr && std::string_view(value) == "1";
}

absl::StatusOr<int> RunInKvmHost(const KvmHostOptions& options) {
  absl::StatusOr<kvm_host::Job> job = kvm_host::MakeJob(options, environ);
  if (!job.ok()) return job.status();
  absl::StatusOr<kvm_host::Parts> parts = kvm_host::FindParts();
  if (!parts.ok()) return parts.status();
  absl::StatusOr<std::unique_ptr<Emulator>> emulator =
      Emulator::Start(*parts, {options.cpus, options.memory_mb, job->writable});
  if (!emulator.ok()) return emulator.status();
  return Session(**emulator, job->Serialize(), options.timeout).Run();
}

}  // namespace watchsnap
