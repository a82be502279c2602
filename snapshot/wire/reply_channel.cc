#include "snapshot/wire/reply_channel.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace watchsnap::wire_internal {
namespace {

// The frame that answers, whatever the message is: a reason that does not fit is cut and says so.
std::string EncodeAnswer(uint32_t sequence, const Message& message) {
  absl::StatusOr<std::string> frame = EncodeMessage(sequence, message);
  if (frame.ok()) return *std::move(frame);
  SnapshotReply refusal;
  refusal.code = frame.status().code();
  const auto* reply = std::get_if<SnapshotReply>(&message);
  if (reply != nullptr && reply->reason.size() > kMaxSubjectBytes) {
    refusal.code = reply->code;
    refusal.reason = absl::StrCat(std::string_view(reply->reason).substr(0, kMaxSubjectBytes - 100),
                                  "… (", reply->reason.size(), " bytes of reason, cut)");
  } else {
    refusal.reason =
        absl::StrCat("the host's answer could not be sent: ", frame.status().message());
  }
  frame = EncodeMessage(sequence, refusal);
  if (frame.ok()) return *std::move(frame);
  refusal.reason = "the host's answer could not be sent";
  return *EncodeMessage(sequence, refusal);
}

bool IsNegative(const Message& message) {
  const auto* reply = std::get_if<SnapshotReply>(&message);
  return reply != nullptr && !reply->ok;
}

}  // namespace

void ReplyChannel::Send(uint32_t sequence, const Message& message) {
  const std::string frame = EncodeAnswer(sequence, message);
  const auto* bytes = reinterpret_cast<const uint8_t*>(frame.data());
  const bool negative = IsNegative(message) ||
                        (!std::holds_alternative<SnapshotReply>(message) &&
                         bytes[kTypeOffset] == static_cast<uint8_t>(MessageType::kSnapshotReply));
  absl::MutexLock lock(&mutex_);
  ++(negative ? counters_.replies_error : counters_.replies_ok);
  if (!sink_ || !sink_(absl::MakeConstSpan(bytes, frame.size())).ok()) ++counters_.replies_lost;
}

bool ReplyChannel::Reserve() {
  absl::MutexLock lock(&mutex_);
  if (outstanding_ == kMaxOutstandingRequests) return false;
  ++outstanding_;
  return true;
}

void ReplyChannel::Release() {
  absl::MutexLock lock(&mutex_);
  --outstanding_;
}

void ReplyChannel::Close() {
  absl::MutexLock lock(&mutex_);
  sink_ = nullptr;
}

void ReplyChannel::SetDecoded(const FrameDecoderCounters& decoded, uint64_t refused) {
  absl::MutexLock lock(&mutex_);
  counters_.frames = decoded.frames;
  counters_.bad_frames = decoded.bad_frames + refused;
  counters_.resyncs = decoded.resyncs;
  counters_.resync_bytes = decoded.resync_bytes;
}

ControlCounters ReplyChannel::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

}  // namespace watchsnap::wire_internal
