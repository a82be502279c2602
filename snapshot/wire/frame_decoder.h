// A stream of bytes from the peer becomes frames: complete, checked, or reported as bad.
//
//   FrameDecoder decoder;
//   decoder.Feed(bytes_from_the_port, sink);   // calls sink.OnFrame / sink.OnBadFrame, in order
//
// The result does not depend on how the stream is cut into Feed calls. Memory is one buffer of
// kMaxFrameBytes, whatever the peer says. Work is linear in the bytes fed.
//
// What is checked here: magic, header check, length, version, flags, frame check, a frame cut
// short. What the fields mean is messages.h. After a bad frame the decoder goes on at the next
// magic.
//
// Threads: one caller at a time. The spans given to the sink live until the sink returns; the sink
// must not feed the same decoder.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_FRAME_DECODER_H_
#define WATCHSNAP_SNAPSHOT_WIRE_FRAME_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "snapshot/wire/wire_format.h"

namespace watchsnap {

struct Frame {
  FrameHeader header;
  absl::Span<const uint8_t> payload;
};

struct BadFrame {
  std::optional<uint32_t> sequence;  // absent where the header itself is damaged
  std::string reason;
};

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  virtual void OnFrame(const Frame& frame) = 0;
  virtual void OnBadFrame(const BadFrame& bad) = 0;
};

struct FrameDecoderCounters {
  uint64_t frames = 0;        // complete and checked
  uint64_t bad_frames = 0;    // reported to OnBadFrame
  uint64_t resyncs = 0;       // runs of bytes outside any frame
  uint64_t resync_bytes = 0;  // and how many bytes they were
};

class FrameDecoder {
 public:
  FrameDecoder();

  void Feed(absl::Span<const uint8_t> bytes, FrameSink& sink);

  // The stream ended or was reset (the port was closed): what is pending can never be completed,
  // and is reported.
  void EndOfStream(FrameSink& sink);

  const FrameDecoderCounters& counters() const { return counters_; }

 private:
  // One step from `start_`; false when more bytes are needed.
  bool Step(FrameSink& sink);
  bool SkipToMagic();
  void CountNoise(size_t bytes);
  void Bad(FrameSink& sink, std::optional<uint32_t> sequence, std::string reason);
  void Compact();
  absl::Span<const uint8_t> Pending() const {
    return absl::MakeConstSpan(buffer_.get() + start_, end_ - start_);
  }

  std::unique_ptr<uint8_t[]> buffer_;  // kMaxFrameBytes
  size_t start_ = 0;                   // first byte not yet decided
  size_t end_ = 0;                     // first free byte
  size_t scanned_ = 1;                 // from start_: no header starts in [1, scanned_)
  bool in_noise_ = false;
  FrameDecoderCounters counters_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WIRE_FRAME_DECODER_H_
