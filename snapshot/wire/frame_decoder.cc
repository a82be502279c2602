#include "snapshot/wire/frame_decoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "snapshot/wire/byte_order.h"
#include "snapshot/wire/frame.h"

namespace watchsnap {
namespace {

// The first position at or after `from` where the magic, or at the very end a prefix of it, stands.
size_t FindMagicOrPrefix(absl::Span<const uint8_t> bytes, size_t from) {
  while (from < bytes.size()) {
    const void* first = std::memchr(bytes.data() + from, kFrameMagic[0], bytes.size() - from);
    if (first == nullptr) return bytes.size();
    from = static_cast<size_t>(static_cast<const uint8_t*>(first) - bytes.data());
    const size_t compared = std::min(kFrameMagic.size(), bytes.size() - from);
    if (std::memcmp(bytes.data() + from, kFrameMagic.data(), compared) == 0) return from;
    ++from;
  }
  return bytes.size();
}

}  // namespace

FrameDecoder::FrameDecoder() : buffer_(std::make_unique<uint8_t[]>(kMaxFrameBytes)) {}

void FrameDecoder::Feed(absl::Span<const uint8_t> bytes, FrameSink& sink) {
  while (!bytes.empty()) {
    Compact();
    const size_t taken = std::min(bytes.size(), kMaxFrameBytes - end_);
    // A pending frame is never longer than the buffer, so a full buffer was decided by Step.
    CHECK_GT(taken, 0u) << "the frame buffer is full and undecided";
    std::memcpy(buffer_.get() + end_, bytes.data(), taken);
    end_ += taken;
    bytes.remove_prefix(taken);
    while (Step(sink)) {
    }
  }
}

void FrameDecoder::EndOfStream(FrameSink& sink) {
  const auto pending = Pending();
  if (pending.size() >= kFrameMagic.size()) {
    std::optional<uint32_t> sequence;
    if (IsFrameHeader(pending)) sequence = LoadFrameHeader(pending.data()).sequence;
    Bad(sink, sequence, absl::StrCat("the stream ended ", pending.size(), " bytes into a frame"));
  } else if (!pending.empty()) {
    CountNoise(pending.size());
  }
  start_ = end_ = 0;
  scanned_ = 1;
  in_noise_ = false;
}

bool FrameDecoder::Step(FrameSink& sink) {
  if (!SkipToMagic()) return false;
  const auto pending = Pending();
  if (pending.size() < kFrameCheckOffset) return false;
  if (!IsFrameHeader(pending)) {
    Bad(sink, std::nullopt, "header check failed: the frame's header is damaged");
    CountNoise(kFrameMagic.size());
    start_ += kFrameMagic.size();
    return true;
  }
  in_noise_ = false;
  const FrameHeader header = LoadFrameHeader(pending.data());
  if (header.payload_bytes > kMaxPayloadBytes) {
    Bad(sink, header.sequence,
        absl::StrCat("payload length ", header.payload_bytes, " exceeds the limit of ",
                     kMaxPayloadBytes, " bytes"));
    // Its bytes may be the beginning of the next frame in part: what follows the magic is looked at.
    start_ += kFrameMagic.size();
    return true;
  }

  // A header inside this frame means that the sender began anew (wire_format.h). This comes before
  // the frame check, so that the outcome is the same however the stream is split.
  const size_t total = kFrameHeaderBytes + header.payload_bytes;
  const auto here = pending.subspan(0, std::min(pending.size(), total));
  const size_t inner = FindFrameHeader(here, scanned_);
  if (inner != here.size()) {
    Bad(sink, header.sequence,
        absl::StrCat("truncated: another frame began after ", inner, " of ", total, " bytes"));
    start_ += inner;
    scanned_ = 1;
    return true;
  }
  if (pending.size() < total) {
    // Headers that start in the last bytes are not complete yet.
    scanned_ = std::max<size_t>(1, here.size() - std::min(here.size(), kFrameCheckOffset - 1));
    return false;
  }

  scanned_ = 1;
  const uint32_t check = LoadLittleEndian<uint32_t>(here.data() + kFrameCheckOffset);
  if (const uint32_t computed = ComputeFrameCheck(here); check != computed) {
    Bad(sink, header.sequence,
        absl::StrFormat("frame check failed: the frame says 0x%08x, its bytes give 0x%08x", check,
                        computed));
    // A frame cut short by a few bytes has swallowed the first bytes of the next one.
    start_ += FindMagicOrPrefix(here, kFrameMagic.size());
    return true;
  }
  if (header.version != kWireVersion) {
    Bad(sink, header.sequence,
        absl::StrCat("version ", header.version, " is not spoken here; use version ",
                     kWireVersion));
  } else if (header.flags != 0) {
    Bad(sink, header.sequence,
        absl::StrFormat("unknown flags 0x%04x; they must be 0", header.flags));
  } else {
    ++counters_.frames;
    sink.OnFrame(Frame{header, here.subspan(kFrameHeaderBytes)});
  }
  start_ += total;
  return true;
}

bool FrameDecoder::SkipToMagic() {
  const auto pending = Pending();
  const size_t magic = FindMagicOrPrefix(pending, 0);
  if (magic > 0) CountNoise(magic);
  start_ += magic;
  return end_ - start_ >= kFrameMagic.size();
}

void FrameDecoder::CountNoise(size_t bytes) {
  if (!in_noise_) ++counters_.resyncs;
  in_noise_ = true;
  counters_.resync_bytes += bytes;
}

void FrameDecoder::Bad(FrameSink& sink, std::optional<uint32_t> sequence, std::string reason) {
  ++counters_.bad_frames;
  sink.OnBadFrame(BadFrame{sequence, std::move(reason)});
}

void FrameDecoder::Compact() {
  if (start_ == 0) return;
  std::memmove(buffer_.get(), buffer_.get() + start_, end_ - start_);
  end_ -= start_;
  start_ = 0;
}

}  // namespace watchsnap
