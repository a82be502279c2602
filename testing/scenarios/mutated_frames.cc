#include "testing/scenarios/mutated_frames.h"

#include <variant>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "snapshot/wire/frame.h"
#include "snapshot/wire/messages.h"

namespace watchsnap {
namespace {

absl::Span<const uint8_t> Bytes(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// A valid message that a run can take any number of, without a change: a log line, a watch that is
// refused by name.
bool IsHarmless(const absl::StatusOr<Message>& message) {
  if (!message.ok() || std::holds_alternative<Log>(*message)) return true;
  const auto* request = std::get_if<SnapshotRequest>(&*message);
  return request != nullptr && request->kind == SnapshotRequestKind::kWatch;
}

// Looks into one frame by itself.
class HarmlessCheck : public FrameSink {
 public:
  void OnFrame(const Frame& frame) override {
    harmless = harmless && IsHarmless(DecodeMessage(frame));
  }
  void OnBadFrame(const BadFrame&) override {}
  bool harmless = true;
};

std::string ValidFrame(uint32_t sequence) {
  Message message;
  switch (sequence % 3) {
    case 0:
      message = SnapshotRequest{
          SnapshotRequestKind::kWatch, absl::StrCat("no_such_symbol_", sequence), {}};
      break;
    case 1:
      message = SnapshotRequest{SnapshotRequestKind::kWatch,
                                std::string(50, 'x'),
                                {.max_captures = 7, .max_frozen_permille = 3}};
      break;
    default:
      message = Log{absl::StrCat("line ", sequence)};
      break;
  }
  absl::StatusOr<std::string> frame = EncodeMessage(sequence, message);
  CHECK_OK(frame.status());
  return *frame;
}

}  // namespace

std::string FrameMutator::Next() {
  ++count_;
  while (true) {
    std::string frame = Mutate(ValidFrame(count_));
    if (count_ % 2 == 0) RepairChecks(frame);
    FrameDecoder decoder;
    HarmlessCheck check;
    decoder.Feed(Bytes(frame), check);
    if (check.harmless) return frame;
  }
}

std::string FrameMutator::Mutate(std::string frame) {
  for (size_t changes = 1 + Below(4); changes > 0; --changes) {
    switch (Below(8)) {
      case 0:
        frame.resize(1 + Below(frame.size()));
        break;
      case 1:
        frame.insert(Below(frame.size()), 1, static_cast<char>(Below(256)));
        break;
      default:
        frame[Below(frame.size())] = static_cast<char>(Below(256));
        break;
    }
  }
  return frame;
}

void StreamOracle::Feed(const std::string& bytes) { decoder_.Feed(Bytes(bytes), *this); }

void StreamOracle::OnFrame(const Frame& frame) {
  const absl::StatusOr<Message> message = DecodeMessage(frame);
  if (!message.ok() || !std::holds_alternative<Log>(*message)) ++expected_refusals_;
}

void StreamOracle::OnBadFrame(const BadFrame&) { ++expected_refusals_; }

}  // namespace watchsnap
