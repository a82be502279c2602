// The part of a ControlServer that its Responders share with it: the byte sink, one writer at a
// time, and the counters. Private to control_server.cc and its Responders. Any thread.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_REPLY_CHANNEL_H_
#define WATCHSNAP_SNAPSHOT_WIRE_REPLY_CHANNEL_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "snapshot/wire/control_server.h"
#include "snapshot/wire/messages.h"

namespace watchsnap::wire_internal {

class ReplyChannel {
 public:
  explicit ReplyChannel(ByteSink sink) : sink_(std::move(sink)) {}

  // Sends an answer. A positive `message` that cannot be encoded becomes a negative answer that
  // says why.
  void Send(uint32_t sequence, const Message& message) ABSL_LOCKS_EXCLUDED(mutex_);
  void SendStatus(uint32_t sequence, const absl::Status& status) {
    Send(sequence, SnapshotReply::FromStatus(status));
  }

  // Reserves one of the kMaxOutstandingRequests; false if all are taken.
  bool Reserve() ABSL_LOCKS_EXCLUDED(mutex_);
  void Release() ABSL_LOCKS_EXCLUDED(mutex_);

  // From here on answers go nowhere.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes the decoder's counts over, so that counters() may be read from any thread.
  void SetDecoded(const FrameDecoderCounters& decoded, uint64_t refused)
      ABSL_LOCKS_EXCLUDED(mutex_);
  ControlCounters counters() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable absl::Mutex mutex_;
  ByteSink sink_ ABSL_GUARDED_BY(mutex_);
  size_t outstanding_ ABSL_GUARDED_BY(mutex_) = 0;
  ControlCounters counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap::wire_internal

#endif  // WATCHSNAP_SNAPSHOT_WIRE_REPLY_CHANNEL_H_
