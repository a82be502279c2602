#include "snapshot/wire/control_server.h"

#include <utility>
#include <variant>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "snapshot/wire/reply_channel.h"

namespace watchsnap {

Responder::Responder(std::shared_ptr<wire_internal::ReplyChannel> channel, uint32_t sequence,
                     MessageType ok_answer)
    : channel_(std::move(channel)), sequence_(sequence), ok_answer_(ok_answer) {}

Responder::Responder(Responder&& other) noexcept
    : channel_(std::move(other.channel_)),
      sequence_(other.sequence_),
      ok_answer_(other.ok_answer_) {
  other.channel_.reset();
}

Responder& Responder::operator=(Responder&& other) noexcept {
  if (this != &other) {
    Drop();
    channel_ = std::move(other.channel_);
    other.channel_.reset();
    sequence_ = other.sequence_;
    ok_answer_ = other.ok_answer_;
  }
  return *this;
}

Responder::~Responder() { Drop(); }

void Responder::Reply(const absl::Status& status) {
  CHECK(channel_ != nullptr) << "a request of the guest is answered twice; the second answer: "
                             << status;
  channel_->Release();
  if (status.ok() && ok_answer_ == MessageType::kGo) {
    channel_->Send(sequence_, Go{});
  } else {
    channel_->SendStatus(sequence_, status);
  }
  channel_.reset();
}

void Responder::Drop() {
  if (channel_ == nullptr) return;
  Reply(absl::CancelledError("the host dropped the request without an answer"));
}

ControlServer::ControlServer(ByteSink sink, ControlHandlers handlers)
    : handlers_(std::move(handlers)),
      channel_(std::make_shared<wire_internal::ReplyChannel>(std::move(sink))) {}

ControlServer::~ControlServer() { channel_->Close(); }

void ControlServer::OnBytes(absl::Span<const uint8_t> bytes) {
  decoder_.Feed(bytes, *this);
  channel_->SetDecoded(decoder_.counters(), refused_);
}

void ControlServer::OnPortClosed() {
  decoder_.EndOfStream(*this);
  channel_->SetDecoded(decoder_.counters(), refused_);
}

ControlCounters ControlServer::counters() const { return channel_->counters(); }

void ControlServer::OnFrame(const Frame& frame) {
  absl::StatusOr<Message> message = DecodeMessage(frame);
  if (!message.ok()) {
    ++refused_;
    if (handlers_.on_bad_frame) {
      handlers_.on_bad_frame({frame.header.sequence, std::string(message.status().message())});
    }
    channel_->SendStatus(frame.header.sequence, message.status());
    return;
  }
  Dispatch(frame.header.sequence, *std::move(message));
}

void ControlServer::OnBadFrame(const BadFrame& bad) {
  if (handlers_.on_bad_frame) handlers_.on_bad_frame(bad);
  channel_->SendStatus(bad.sequence.value_or(kNoSequence),
                       absl::DataLossError(absl::StrCat("bad frame: ", bad.reason)));
}

void ControlServer::Dispatch(uint32_t sequence, Message message) {
  if (auto* hello = std::get_if<Hello>(&message)) {
    OnHello(sequence, *hello);
  } else if (auto* request = std::get_if<SnapshotRequest>(&message)) {
    OnRequest(sequence, *std::move(request));
  } else if (auto* result = std::get_if<ScenarioResult>(&message)) {
    channel_->SendStatus(sequence,
                         handlers_.on_result
                             ? handlers_.on_result(*result)
                             : absl::UnimplementedError("this host takes no scenario results"));
  } else if (auto* log = std::get_if<Log>(&message)) {
    if (handlers_.on_log) handlers_.on_log(log->text);
  } else if (std::holds_alternative<Bye>(message)) {
    if (handlers_.on_bye) handlers_.on_bye();
  } else if (std::holds_alternative<Ready>(message)) {
    if (!handlers_.on_ready) {
      channel_->Send(sequence, Go{});
    } else if (auto responder = MakeResponder(sequence, MessageType::kGo)) {
      handlers_.on_ready(*std::move(responder));
    }
  } else {
    ++refused_;
    channel_->SendStatus(sequence, absl::InvalidArgumentError(
                                       "this message goes from the host to the guest, not back"));
  }
}

void ControlServer::OnHello(uint32_t sequence, const Hello& hello) {
  if (hello.protocol_version != kWireVersion) {
    channel_->SendStatus(
        sequence, absl::FailedPreconditionError(absl::StrCat(
                      "the guest speaks protocol version ", hello.protocol_version,
                      ", the host version ", kWireVersion, "; build both from the same sources")));
    return;
  }
  absl::StatusOr<HelloReply> reply = HelloReply{};
  if (handlers_.on_hello) reply = handlers_.on_hello(hello);
  if (reply.ok()) {
    channel_->Send(sequence, *std::move(reply));
  } else {
    channel_->SendStatus(sequence, reply.status());
  }
}

void ControlServer::OnRequest(uint32_t sequence, SnapshotRequest request) {
  const bool watch = request.kind == SnapshotRequestKind::kWatch;
  const auto& on_capture = request.kind == SnapshotRequestKind::kPeriodicCapture
                               ? handlers_.on_periodic_capture
                               : handlers_.on_capture;
  if (watch ? !handlers_.on_watch : !on_capture) {
    channel_->SendStatus(sequence, absl::UnimplementedError(absl::StrCat(
                                       "this host takes no ", watch ? "watches" : "captures",
                                       " over the control channel")));
    return;
  }
  std::optional<Responder> responder = MakeResponder(sequence, MessageType::kSnapshotReply);
  if (!responder) return;
  if (watch) {
    handlers_.on_watch(std::move(request.subject), request.options, *std::move(responder));
  } else {
    on_capture(std::move(request.subject), std::move(request.options.variables),
               *std::move(responder));
  }
}

std::optional<Responder> ControlServer::MakeResponder(uint32_t sequence, MessageType ok_answer) {
  if (channel_->Reserve()) return Responder(channel_, sequence, ok_answer);
  channel_->SendStatus(sequence, absl::ResourceExhaustedError(absl::StrCat(
                                     kMaxOutstandingRequests,
                                     " requests are unanswered; wait for an answer first")));
  return std::nullopt;
}

}  // namespace watchsnap
