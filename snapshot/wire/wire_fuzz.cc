// The codec and the server under libFuzzer.
//
//   ./bazelw build --config=fuzz //snapshot/wire:wire_fuzz
//   bazel-bin/snapshot/wire/wire_fuzz -max_len=4096 -max_total_time=60
//
// The input is a stream of bytes from the guest. Its first byte says how the rest is cut into
// reads, and whether the checks are repaired first, so that the fuzzer also reaches what lies
// behind them. After each input a good request must still be answered.
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "snapshot/wire/control_server.h"
#include "snapshot/wire/frame.h"
#include "snapshot/wire/messages.h"

namespace watchsnap {
namespace {

// What the server sends must itself be well formed.
class Answers : public FrameSink {
 public:
  void OnFrame(const Frame& frame) override {
    CHECK_OK(DecodeMessage(frame));
    last_sequence = frame.header.sequence;
  }
  void OnBadFrame(const BadFrame& bad) override { LOG(FATAL) << bad.reason; }

  FrameDecoder decoder;
  uint32_t last_sequence = 0;
};

void FuzzOne(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const size_t piece = 1 + (data[0] & 0x7f);
  std::string stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 0x80) != 0) {
    stream.insert(0, reinterpret_cast<const char*>(kFrameMagic.data()), kFrameMagic.size());
    if (stream.size() > kVersionOffset) stream[kVersionOffset] = kWireVersion;
    RepairChecks(stream);
  }

  Answers answers;
  ControlHandlers handlers;
  handlers.on_capture = [](std::string, std::vector<std::string>, Responder responder) {
    responder.Reply(absl::OkStatus());
  };
  handlers.on_watch = [](std::string symbol, const WatchRequestOptions&, Responder responder) {
    responder.Reply(absl::NotFoundError(symbol));
  };
  ControlServer server(
      [&](absl::Span<const uint8_t> bytes) {
        answers.decoder.Feed(bytes, answers);
        return absl::OkStatus();
      },
      std::move(handlers));
  const auto bytes =
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(stream.data()), stream.size());
  for (size_t at = 0; at < bytes.size(); at += piece) server.OnBytes(bytes.subspan(at, piece));

  constexpr uint32_t kGood = 0xfeedbeef;
  const std::string good =
      *EncodeMessage(kGood, SnapshotRequest{SnapshotRequestKind::kCapture, "good", {}});
  server.OnBytes(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(good.data()), good.size()));
  CHECK_EQ(answers.last_sequence, kGood) << "the good request after the input was not answered";
}

}  // namespace
}  // namespace watchsnap

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  watchsnap::FuzzOne(data, size);
  return 0;
}
