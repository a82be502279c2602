// The guest's end of the control channel: blocking requests over a file descriptor, each with a
// deadline.
//
//   absl::StatusOr<std::unique_ptr<ControlClient>> client = ControlClient::Open("/dev/vport0p1");
//   (*client)->WaitForHost(absl::Seconds(5));
//   absl::StatusOr<HelloReply> options = (*client)->SayHello(hello, absl::Seconds(5));
//   absl::Status status = (*client)->RequestWatch("jiffies_64", {}, absl::Seconds(10));
//
// A refusal by the host comes back as its own status: code and message as the host gave them. The
// guest never waits for an answer that cannot come: end of file, a closed port and the deadline end
// every call. DEADLINE_EXCEEDED says what was asked; UNAVAILABLE that the host is gone.
//
// Threads: any; one request is under way at a time, others wait for it.
// Ownership: the client owns the descriptor and makes it non-blocking.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_CONTROL_CLIENT_H_
#define WATCHSNAP_SNAPSHOT_WIRE_CONTROL_CLIENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "snapshot/wire/frame_decoder.h"
#include "snapshot/wire/messages.h"

namespace watchsnap {

class ControlClient : private FrameSink {
 public:
  static absl::StatusOr<std::unique_ptr<ControlClient>> Open(const std::string& path);

  explicit ControlClient(int fd);  // takes ownership
  ~ControlClient() override;
  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  // A virtio-console port hangs up until the host has opened its end; waits until it has.
  absl::Status WaitForHost(absl::Duration timeout);

  absl::StatusOr<HelloReply> SayHello(const Hello& hello, absl::Duration timeout);
  // Tells the host that set-up is done, and waits for its go.
  absl::Status Ready(absl::Duration timeout);
  // `variables` of the kernel go along.
  absl::Status RequestCapture(std::string_view tag, const std::vector<std::string>& variables,
                              absl::Duration timeout);
  absl::Status RequestPeriodicCapture(std::string_view tag, absl::Duration timeout);
  absl::Status RequestWatch(std::string_view symbol, const WatchRequestOptions& options,
                            absl::Duration timeout);
  // Details that do not fit a frame together are cut, and say so.
  absl::Status SendResult(ScenarioResult result, absl::Duration timeout);
  // These two are not answered; OK means that the bytes were taken.
  absl::Status SendLog(std::string_view text, absl::Duration timeout);
  absl::Status SayBye(absl::Duration timeout);

 private:
  void OnFrame(const Frame& frame) override;
  void OnBadFrame(const BadFrame& bad) override;

  absl::StatusOr<Message> Ask(const Message& message, std::string_view what, absl::Duration timeout)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status AskForStatus(const Message& message, std::string_view what, absl::Duration timeout);
  absl::Status Tell(const Message& message, absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status WriteAll(std::string_view bytes, absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReadSome(absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits for `events`; UNAVAILABLE on a hang-up without them.
  absl::Status Poll(short events, absl::Time deadline);

  const int fd_;
  absl::Mutex mutex_;
  FrameDecoder decoder_ ABSL_GUARDED_BY(mutex_);
  uint32_t sequence_ ABSL_GUARDED_BY(mutex_) = kNoSequence;
  // The answer to sequence_, once it came; used by the sink, which runs inside Feed with the lock
  // held.
  std::optional<absl::StatusOr<Message>> answer_;
  uint32_t awaited_ = kNoSequence;
  std::string unattributed_;  // the host's last complaint that names no request
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WIRE_CONTROL_CLIENT_H_
