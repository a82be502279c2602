// The host's end of the control channel: bytes from the guest in, requests to the handlers, answers
// out.
//
//   ControlHandlers handlers;
//   handlers.on_watch = [&](std::string symbol, const WatchRequestOptions&, Responder responder) {
//     queue.Push(std::move(symbol), std::move(responder));
//   };
//   ControlServer server(write_to_port_1, std::move(handlers));
//   server.OnBytes(bytes);   // from the device's thread, as the guest sends them
//
// Every request is answered exactly once. A frame that cannot be understood gets a negative answer
// at once; a request handed to on_capture, on_watch or on_ready is answered through its Responder,
// now or later, from any thread; a Responder that is dropped unanswered answers negatively and says
// so. Bytes outside any frame are skipped and counted.
//
// Threads: OnBytes and OnPortClosed from one thread at a time; handlers run on that thread and
// should return soon. Responders and counters() from any thread. The byte sink is called with a
// lock held, by one thread at a time: it must not call back into the server.
// Ownership: a Responder may outlive the server; it then answers nobody.
// Bounds: what the peer can make the host hold is one frame, and kMaxOutstanding unanswered
// requests of one frame each.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_CONTROL_SERVER_H_
#define WATCHSNAP_SNAPSHOT_WIRE_CONTROL_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "snapshot/wire/frame_decoder.h"
#include "snapshot/wire/messages.h"

namespace watchsnap {

inline constexpr size_t kMaxOutstandingRequests = 64;

// Takes whole frames towards the guest. It may fail (the guest does not read, the port is closed);
// the answer is then counted as lost.
using ByteSink = std::function<absl::Status(absl::Span<const uint8_t>)>;

struct ControlCounters {
  uint64_t frames = 0;         // complete, checked frames, whatever was in them
  uint64_t replies_ok = 0;     // positive answers, HELLO_REPLY and GO among them
  uint64_t replies_error = 0;  // negative answers
  uint64_t replies_lost = 0;   // answers the byte sink did not take; also in one of the two above
  uint64_t bad_frames = 0;     // frames that could not be understood; each was answered negatively
  uint64_t resyncs = 0;        // runs of bytes outside any frame
  uint64_t resync_bytes = 0;   // how many bytes they were
};

namespace wire_internal {
class ReplyChannel;
}  // namespace wire_internal

// The right, and the duty, to answer one request. Movable; usable from any thread.
class Responder {
 public:
  Responder() = default;
  // `ok_answer` is what the guest gets where Reply is given OK: a SnapshotReply, or GO.
  Responder(std::shared_ptr<wire_internal::ReplyChannel> channel, uint32_t sequence,
            MessageType ok_answer);
  Responder(Responder&& other) noexcept;
  Responder& operator=(Responder&& other) noexcept;
  ~Responder();

  // Answers and gives up the right. CHECK-fails on a second answer. The message of `status` reaches
  // the guest byte for byte.
  void Reply(const absl::Status& status);

  bool pending() const { return channel_ != nullptr; }

 private:
  void Drop();

  std::shared_ptr<wire_internal::ReplyChannel> channel_;
  uint32_t sequence_ = kNoSequence;
  MessageType ok_answer_ = MessageType::kSnapshotReply;
};

// What the host does with the guest's messages. A request whose handler is absent is refused by
// name.
struct ControlHandlers {
  std::function<absl::StatusOr<HelloReply>(const Hello&)> on_hello;
  // `variables` of the kernel go along.
  using CaptureHandler =
      std::function<void(std::string tag, std::vector<std::string> variables, Responder)>;
  CaptureHandler on_capture;
  CaptureHandler on_periodic_capture;
  std::function<void(std::string symbol, const WatchRequestOptions&, Responder)> on_watch;
  std::function<absl::Status(const ScenarioResult&)> on_result;
  std::function<void(std::string_view text)> on_log;  // absent: ignored
  std::function<void(Responder)> on_ready;            // an OK answer is GO; absent: at once
  std::function<void()> on_bye;                       // absent: ignored
  std::function<void(const BadFrame&)> on_bad_frame;  // absent: only counted and answered
};

class ControlServer : private FrameSink {
 public:
  ControlServer(ByteSink sink, ControlHandlers handlers);
  // Responders that are still out answer nobody from here on.
  ~ControlServer() override;
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  void OnBytes(absl::Span<const uint8_t> bytes);
  // The guest closed the port or was reset: a frame that is pending is bad, the next byte begins a
  // new stream.
  void OnPortClosed();

  ControlCounters counters() const;

 private:
  void OnFrame(const Frame& frame) override;
  void OnBadFrame(const BadFrame& bad) override;
  void Dispatch(uint32_t sequence, Message message);
  void OnHello(uint32_t sequence, const Hello& hello);
  void OnRequest(uint32_t sequence, SnapshotRequest request);
  // The right to answer `sequence`, or nothing if too many are out; then it was refused.
  std::optional<Responder> MakeResponder(uint32_t sequence, MessageType ok_answer);

  ControlHandlers handlers_;
  FrameDecoder decoder_;
  uint64_t refused_ = 0;  // frames that were complete, and whose message could not be understood
  std::shared_ptr<wire_internal::ReplyChannel> channel_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WIRE_CONTROL_SERVER_H_
