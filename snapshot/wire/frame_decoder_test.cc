#include "snapshot/wire/frame_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "snapshot/wire/frame.h"
#include "snapshot/wire/messages.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::Span<const uint8_t> AsBytes(std::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// Writes down what the decoder says, in order.
class Recorder : public FrameSink {
 public:
  void OnFrame(const Frame& frame) override {
    events.push_back(absl::StrCat("frame ", frame.header.sequence));
    payloads.emplace_back(frame.payload.begin(), frame.payload.end());
  }
  void OnBadFrame(const BadFrame& bad) override {
    events.push_back(absl::StrCat("bad ", bad.sequence ? absl::StrCat(*bad.sequence) : "?"));
    reasons.push_back(bad.reason);
  }
  std::vector<std::string> events;
  std::vector<std::vector<uint8_t>> payloads;
  std::vector<std::string> reasons;
};

std::string Request(uint32_t sequence, std::string subject = "jiffies_64") {
  return *EncodeMessage(sequence,
                        SnapshotRequest{SnapshotRequestKind::kWatch, std::move(subject), {}});
}

struct Outcome {
  std::vector<std::string> events, reasons;
  FrameDecoderCounters counters;
};

Outcome Decode(std::string_view stream, size_t piece) {
  FrameDecoder decoder;
  Recorder recorder;
  for (size_t at = 0; at < stream.size(); at += piece) {
    decoder.Feed(AsBytes(stream.substr(at, piece)), recorder);
  }
  return {recorder.events, recorder.reasons, decoder.counters()};
}

Outcome Decode(std::string_view stream) { return Decode(stream, stream.size()); }

TEST(FrameDecoderTest, ReadsFramesInOrder) {
  const Outcome outcome = Decode(Request(1) + Request(2) + Request(3));
  EXPECT_THAT(outcome.events, ElementsAre("frame 1", "frame 2", "frame 3"));
  EXPECT_EQ(outcome.counters.resync_bytes, 0u);
}

TEST(FrameDecoderTest, SplitAnywhereIsTheSame) {
  const std::string stream = Request(1) + Request(2);
  for (size_t cut = 1; cut < stream.size(); ++cut) {
    FrameDecoder decoder;
    Recorder recorder;
    decoder.Feed(AsBytes(std::string_view(stream).substr(0, cut)), recorder);
    decoder.Feed(AsBytes(std::string_view(stream).substr(cut)), recorder);
    EXPECT_THAT(recorder.events, ElementsAre("frame 1", "frame 2")) << "cut at " << cut;
    EXPECT_EQ(decoder.counters().resyncs, 0u);
  }
}

TEST(FrameDecoderTest, AFullSizedFrameFits) {
  const std::string payload(kMaxPayloadBytes, 'x');
  const std::string frame = *EncodeFrame(MessageType::kLog, 9, AsBytes(payload));
  ASSERT_EQ(frame.size(), kMaxFrameBytes);
  EXPECT_THAT(Decode(frame + frame + Request(10)).events,
              ElementsAre("frame 9", "frame 9", "frame 10"));
  EXPECT_FALSE(EncodeFrame(MessageType::kLog, 9, AsBytes(payload + "x")).ok());
}

TEST(FrameDecoderTest, NoiseIsCountedAndSkipped) {
  const std::string noise = "login: root\r\n\xF7W not a frame \xF7";
  const Outcome outcome = Decode(noise + Request(1) + "\xF7" + Request(2) + Request(3));
  EXPECT_THAT(outcome.events, ElementsAre("frame 1", "frame 2", "frame 3"));
  EXPECT_EQ(outcome.counters.resyncs, 2u);
  EXPECT_EQ(outcome.counters.resync_bytes, noise.size() + 1);
}

TEST(FrameDecoderTest, ADamagedHeaderIsNoticedAtOnce) {
  for (size_t damaged = kVersionOffset; damaged < kFrameCheckOffset; ++damaged) {
    std::string frame = Request(1);
    frame[damaged] = static_cast<char>(frame[damaged] ^ 0x40);
    // Only the header is there: nothing of what it announces is waited for.
    const Outcome outcome = Decode(frame.substr(0, kFrameCheckOffset));
    EXPECT_THAT(outcome.events, ElementsAre("bad ?")) << "damaged byte " << damaged;
    EXPECT_THAT(outcome.reasons[0], HasSubstr("header check failed"));
    EXPECT_THAT(Decode(frame + Request(2)).events, ElementsAre("bad ?", "frame 2"));
  }
}

TEST(FrameDecoderTest, ADamagedPayloadOrFrameCheckNamesItsSequence) {
  const std::string good = Request(77);
  for (size_t damaged = kFrameCheckOffset; damaged < good.size(); ++damaged) {
    std::string frame = good;
    frame[damaged] = static_cast<char>(frame[damaged] ^ 1);
    const Outcome outcome = Decode(frame + Request(78));
    EXPECT_THAT(outcome.events, ElementsAre("bad 77", "frame 78")) << "damaged byte " << damaged;
    EXPECT_THAT(outcome.reasons[0], HasSubstr("frame check failed"));
  }
}

TEST(FrameDecoderTest, OversizedLengthIsRefusedFromTheHeaderAlone) {
  std::string frame = Request(5);
  frame[kLengthOffset + 3] = 0x7f;
  RepairChecks(frame);
  const Outcome outcome = Decode(frame + Request(6));
  EXPECT_THAT(outcome.events, ElementsAre("bad 5", "frame 6"));
  EXPECT_THAT(outcome.reasons[0], HasSubstr("exceeds the limit"));
  EXPECT_EQ(outcome.counters.resync_bytes, frame.size() - kFrameMagic.size());
}

// Found by the fuzzer: a header with an oversized length and a check that holds, whose last byte is the
// first one of a good frame.
TEST(FrameDecoderTest, AnOversizedHeaderDoesNotSwallowTheNextFramesBeginning) {
  const std::string stump = {'\xF7', 'W', 'S',    '\xFB', '\xF7', 'W', 'S',    '\xF7', 'W',   'S',
                             '\xFB', 1,   '\xFB', '\xF7', '\xF7', 'W', '\xE9', '\x60', '\xD5'};
  // The stump holds a second magic, whose header is damaged.
  EXPECT_THAT(Decode(stump + Request(6)).events, ElementsAre("bad 33248087", "bad ?", "frame 6"));
}

TEST(FrameDecoderTest, OtherVersionsAndFlagsAreRefused) {
  std::string version = Request(5);
  version[kVersionOffset] = 9;
  RepairChecks(version);
  std::string flags = Request(6);
  flags[kFlagsOffset] = 1;
  RepairChecks(flags);
  const Outcome outcome = Decode(version + flags + Request(7));
  EXPECT_THAT(outcome.events, ElementsAre("bad 5", "bad 6", "frame 7"));
  EXPECT_THAT(outcome.reasons[0], HasSubstr("version 9"));
  EXPECT_THAT(outcome.reasons[1], HasSubstr("flags 0x0001"));
}

// The sender died inside a frame and began anew. At every length of the stump the next frame is
// read as soon as its own bytes are there, however many bytes the stump announced, and however the
// stream is split.
TEST(FrameDecoderTest, AFrameCutShortDoesNotSwallowTheNext) {
  const std::string cut_short = Request(1, std::string(500, 's'));
  for (size_t length = 1; length < cut_short.size(); ++length) {
    const std::string stream = cut_short.substr(0, length) + Request(2) + Request(3);
    const Outcome whole = Decode(stream);
    ASSERT_GE(whole.events.size(), 2u) << "cut after " << length;
    EXPECT_EQ(whole.events[whole.events.size() - 2], "frame 2") << "cut after " << length;
    EXPECT_EQ(whole.events.back(), "frame 3");
    if (length >= kFrameCheckOffset) {
      EXPECT_EQ(whole.events[0], "bad 1");
    }
    EXPECT_EQ(Decode(stream, 1).events, whole.events) << "cut after " << length;
  }
}

TEST(FrameDecoderTest, EncodersRefuseAFrameInsideAFrame) {
  const auto encoded =
      EncodeMessage(1, SnapshotRequest{SnapshotRequestKind::kCapture, "x" + Request(2), {}});
  EXPECT_FALSE(encoded.ok());
  // The magic alone may stand there.
  EXPECT_TRUE(
      EncodeMessage(1, SnapshotRequest{SnapshotRequestKind::kCapture, "x\xF7WS\xFBy", {}}).ok());
}

TEST(FrameDecoderTest, EndOfStreamReportsWhatIsPendingAndStartsAfresh) {
  FrameDecoder decoder;
  Recorder recorder;
  const std::string frame = Request(4);
  decoder.Feed(AsBytes(std::string_view(frame).substr(0, 30)), recorder);
  EXPECT_THAT(recorder.events, IsEmpty());
  decoder.EndOfStream(recorder);
  EXPECT_THAT(recorder.events, ElementsAre("bad 4"));
  decoder.Feed(AsBytes(frame), recorder);
  EXPECT_THAT(recorder.events, ElementsAre("bad 4", "frame 4"));
}

// Random streams of good frames, damaged frames and noise: the outcome does not depend on the
// splitting.
TEST(FrameDecoderTest, OutcomeIsIndependentOfSplitting) {
  std::mt19937_64 random(20240811);
  for (int round = 0; round < 300; ++round) {
    std::string stream;
    for (uint32_t i = 1; i <= 8; ++i) {
      std::string part = Request(i, std::string(1 + random() % 90, 's'));
      switch (random() % 5) {
        case 0: part[random() % part.size()] = static_cast<char>(random()); break;
        case 1: part.resize(random() % part.size()); break;
        case 2: part.insert(random() % part.size(), "\xF7WS\xFB"); break;
        case 3: part += std::string(random() % 20, '\xF7'); break;
        default: break;
      }
      stream += part;
    }
    stream += Request(100);
    const Outcome whole = Decode(stream);
    EXPECT_EQ(whole.events.back(), "frame 100") << "round " << round;
    for (const size_t piece : {1, 3, 7, 24, 61}) {
      const Outcome split = Decode(stream, piece);
      ASSERT_EQ(split.events, whole.events) << "round " << round << ", pieces of " << piece;
      ASSERT_EQ(split.reasons, whole.reasons) << "round " << round << ", pieces of " << piece;
      ASSERT_EQ(split.counters.resyncs, whole.counters.resyncs) << "round " << round;
      ASSERT_EQ(split.counters.resync_bytes, whole.counters.resync_bytes) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace watchsnap
