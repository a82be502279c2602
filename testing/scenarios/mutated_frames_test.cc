// The mutated frames against a control server in this program: it answers as many as the oracle
// says, and the next good request reaches its handler.
#include "testing/scenarios/mutated_frames.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "snapshot/wire/control_server.h"
#include "snapshot/wire/messages.h"

namespace watchsnap {
namespace {

absl::Span<const uint8_t> Bytes(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

TEST(MutatedFrames, TheServerAnswersWhatTheOracleExpects) {
  int good = 0;
  ControlHandlers handlers;
  handlers.on_watch = [&](std::string symbol, const WatchRequestOptions&, Responder responder) {
    if (symbol == "good") ++good;
    responder.Reply(symbol == "good" ? absl::OkStatus() : absl::NotFoundError("no such symbol"));
  };
  ControlServer server([](absl::Span<const uint8_t>) { return absl::OkStatus(); }, handlers);
  FrameMutator mutator(7);
  StreamOracle oracle;
  for (uint32_t i = 0; i < 5000; ++i) {
    std::string bytes = mutator.Next();
    if (i % 50 == 0) bytes += "stray text";
    oracle.Feed(bytes);
    server.OnBytes(Bytes(bytes));
  }
  for (const char* symbol : {"bad", "good"}) {
    absl::StatusOr<std::string> frame =
        EncodeMessage(1, SnapshotRequest{SnapshotRequestKind::kWatch, symbol, {}});
    ASSERT_TRUE(frame.ok());
    if (std::string(symbol) == "bad") oracle.Feed(*frame);
    server.OnBytes(Bytes(*frame));
  }
  EXPECT_EQ(good, 1);
  EXPECT_EQ(server.counters().replies_ok, 1u);
  EXPECT_EQ(server.counters().replies_error, oracle.expected_refusals());
  EXPECT_GT(oracle.expected_refusals(), 3500u);
  EXPECT_GT(server.counters().bad_frames, 2500u);
  EXPECT_EQ(server.counters().resyncs, oracle.resyncs());
}

TEST(MutatedFrames, AreTheSameForTheSameSeed) {
  FrameMutator one(3), two(3);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(one.Next(), two.Next()) << i;
}

}  // namespace
}  // namespace watchsnap
