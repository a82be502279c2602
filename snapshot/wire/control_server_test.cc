#include "snapshot/wire/control_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "snapshot/wire/fields.h"
#include "snapshot/wire/frame.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

absl::Span<const uint8_t> AsBytes(std::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

struct Answer {
  uint32_t sequence;
  Message message;
};

// The guest's side: everything the server sends is decoded with the production decoder.
class GuestEnd : public FrameSink {
 public:
  ByteSink Sink() {
    return [this](absl::Span<const uint8_t> bytes) {
      decoder_.Feed(bytes, *this);
      return absl::OkStatus();
    };
  }
  void OnFrame(const Frame& frame) override {
    answers.push_back({frame.header.sequence, DecodeMessage(frame).value()});
  }
  void OnBadFrame(const BadFrame& bad) override { FAIL() << "the server sent " << bad.reason; }

  // The reply to the last request, which must be a SnapshotReply.
  absl::Status Last() const {
    if (answers.empty()) return absl::InternalError("no answer at all");
    return std::get<SnapshotReply>(answers.back().message).ToStatus();
  }
  std::vector<Answer> answers;

 private:
  FrameDecoder decoder_;
};

class ControlServerTest : public ::testing::Test {
 protected:
  ControlHandlers Handlers() {
    return {
        .on_hello =
            [](const Hello&) {
              return HelloReply{1000, {}};
            },
        .on_capture =
            [this](std::string tag, std::vector<std::string>, Responder responder) {
              tags.push_back(std::move(tag));
              responder.Reply(absl::OkStatus());
            },
        .on_watch =
            [this](std::string symbol, const WatchRequestOptions&, Responder responder) {
              if (symbol == "defer") {
                deferred.push_back(std::move(responder));
              } else if (symbol == "drop") {
                // Falls out of scope unanswered.
              } else if (symbol == "typo") {
                responder.Reply(absl::NotFoundError("symbol 'typo' not found in vmlinux symtab"));
              } else {
                responder.Reply(absl::OkStatus());
              }
            },
        .on_result =
            [this](const ScenarioResult& result) {
              results.push_back(result);
              return absl::OkStatus();
            },
        .on_log = {},
        .on_ready = {},
        .on_bye = {},
        .on_bad_frame = {}};
  }

  std::string Watch(uint32_t sequence, std::string symbol) {
    return *EncodeMessage(sequence,
                          SnapshotRequest{SnapshotRequestKind::kWatch, std::move(symbol), {}});
  }
  void Send(std::string_view bytes) { server.OnBytes(AsBytes(bytes)); }

  GuestEnd guest;
  std::vector<std::string> tags;
  std::vector<ScenarioResult> results;
  std::vector<Responder> deferred;
  ControlServer server{guest.Sink(), Handlers()};
};

TEST_F(ControlServerTest, AnswersEachMessageInItsWay) {
  Send(*EncodeMessage(1, Hello{.scenario = "S"}));
  ASSERT_EQ(guest.answers.size(), 1u);
  EXPECT_EQ(std::get<HelloReply>(guest.answers[0].message).hold_ms, 1000u);
  Send(*EncodeMessage(2, Ready{}));
  EXPECT_TRUE(std::holds_alternative<Go>(guest.answers.back().message));
  Send(*EncodeMessage(3, SnapshotRequest{SnapshotRequestKind::kCapture, "mid", {}}));
  EXPECT_TRUE(guest.Last().ok());
  EXPECT_EQ(tags, std::vector<std::string>{"mid"});
  Send(Watch(4, "typo"));
  EXPECT_EQ(guest.Last(), absl::NotFoundError("symbol 'typo' not found in vmlinux symtab"));
  EXPECT_EQ(guest.answers.back().sequence, 4u);
  Send(*EncodeMessage(5, ScenarioResult{true, {"fine"}, "finished"}));
  EXPECT_TRUE(guest.Last().ok());
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].details, std::vector<std::string>{"fine"});
  const size_t before = guest.answers.size();
  Send(*EncodeMessage(6, Log{"text"}) + *EncodeMessage(7, Bye{}));
  EXPECT_EQ(guest.answers.size(), before);
  EXPECT_EQ(server.counters().frames, 7u);
  EXPECT_EQ(server.counters().replies_ok, 4u);
  EXPECT_EQ(server.counters().replies_error, 1u);
}

TEST_F(ControlServerTest, EveryMalformedRequestGetsANegativeReply) {
  const auto repaired = [&](size_t offset, uint8_t value) {
    std::string frame = Watch(50, "sym");
    frame[offset] = static_cast<char>(value);
    RepairChecks(frame);
    return frame;
  };
  const auto damaged = [&](size_t offset) {
    std::string frame = Watch(50, "sym");
    frame[offset] = static_cast<char>(frame[offset] ^ 0x20);
    return frame;
  };
  const auto fields = [](MessageType type, const FieldWriter& writer) {
    return *EncodeFrame(type, 50, writer.payload());
  };
  const struct {
    const char* what;
    std::string bytes;
    uint32_t sequence;
    const char* words;
  } kCases[] = {
      {"bad version", repaired(kVersionOffset, 9), 50, "version 9"},
      {"bad flags", repaired(kFlagsOffset, 1), 50, "flags"},
      {"unknown type", repaired(kTypeOffset, 200), 50, "unknown message type 200"},
      {"host's type", fields(MessageType::kGo, FieldWriter()), 50, "from the host to the guest"},
      {"bad header check", damaged(kHeaderCheckOffset), 0, "header check failed"},
      {"bad frame check", damaged(kFrameCheckOffset), 50, "frame check failed"},
      {"damaged payload", damaged(kFrameHeaderBytes + 8), 50, "frame check failed"},
      {"oversized", repaired(kLengthOffset + 2, 0xff), 50, "exceeds the limit"},
      {"truncated", Watch(50, std::string(90, 's')).substr(0, 60) + Watch(51, "next"), 50,
       "truncated"},
      {"field too long", repaired(kFrameHeaderBytes + 2, 0xff), 50, "says it has"},
      {"missing field", fields(MessageType::kSnapshotRequest, FieldWriter()), 50,
       "without its field"},
      {"wrong size",
       fields(MessageType::kSnapshotRequest, FieldWriter().U64(FieldTag::kRequestKind, 1)), 50,
       "must have 1 bytes"},
  };
  uint64_t bad = 0;
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    guest.answers.clear();
    Send(c.bytes);
    ASSERT_FALSE(guest.answers.empty());
    EXPECT_EQ(guest.answers[0].sequence, c.sequence);
    const auto reply = std::get<SnapshotReply>(guest.answers[0].message);
    EXPECT_FALSE(reply.ok);
    EXPECT_THAT(reply.reason, HasSubstr(c.words));
    EXPECT_EQ(server.counters().bad_frames, ++bad);
    Send(Watch(99, "fine"));
    EXPECT_EQ(guest.answers.back().sequence, 99u);
    EXPECT_TRUE(guest.Last().ok());
  }
}

TEST_F(ControlServerTest, UnframedBytesAreCounted) {
  Send("garbage");
  Send(Watch(1, "fine"));
  EXPECT_TRUE(guest.Last().ok());
  EXPECT_EQ(guest.answers.size(), 1u);
  EXPECT_EQ(server.counters().resyncs, 1u);
  EXPECT_EQ(server.counters().resync_bytes, 7u);
}

TEST_F(ControlServerTest, AnswersMayComeLaterFromAnotherThread) {
  Send(Watch(7, "defer"));
  EXPECT_TRUE(guest.answers.empty());
  std::thread([&] { deferred[0].Reply(absl::AbortedError("later")); }).join();
  ASSERT_EQ(guest.answers.size(), 1u);
  EXPECT_EQ(guest.answers[0].sequence, 7u);
  EXPECT_EQ(guest.Last(), absl::AbortedError("later"));
}

TEST_F(ControlServerTest, GoComesWhenTheHostIsReady) {
  ControlHandlers handlers = Handlers();
  handlers.on_ready = [this](Responder responder) { deferred.push_back(std::move(responder)); };
  ControlServer other(guest.Sink(), std::move(handlers));
  other.OnBytes(AsBytes(*EncodeMessage(1, Ready{}) + *EncodeMessage(2, Ready{})));
  EXPECT_TRUE(guest.answers.empty());
  deferred[0].Reply(absl::OkStatus());
  EXPECT_TRUE(std::holds_alternative<Go>(guest.answers.back().message));
  EXPECT_EQ(guest.answers.back().sequence, 1u);
  deferred[1].Reply(absl::NotFoundError("symbol"));
  EXPECT_EQ(guest.Last(), absl::NotFoundError("symbol"));
}

TEST_F(ControlServerTest, ADroppedResponderAnswersNegatively) {
  Send(Watch(8, "drop"));
  EXPECT_THAT(std::string(guest.Last().message()), HasSubstr("without an answer"));
}

TEST_F(ControlServerTest, RespondersOutliveTheServer) {
  Responder survivor;
  {
    ControlServer other(guest.Sink(), Handlers());
    other.OnBytes(AsBytes(Watch(1, "defer")));
    survivor = std::move(deferred.back());
  }
  survivor.Reply(absl::OkStatus());
  EXPECT_TRUE(guest.answers.empty());
}

TEST_F(ControlServerTest, UnansweredRequestsAreBounded) {
  for (uint32_t i = 1; i <= kMaxOutstandingRequests; ++i) Send(Watch(i, "defer"));
  EXPECT_TRUE(guest.answers.empty());
  Send(Watch(1000, "defer"));
  EXPECT_EQ(guest.Last().code(), absl::StatusCode::kResourceExhausted);
  deferred.pop_back();
  Send(Watch(1001, "fine"));
  EXPECT_TRUE(guest.Last().ok());
}

TEST_F(ControlServerTest, AbsentHandlersRefuseByName) {
  ControlServer bare(guest.Sink(), {});
  bare.OnBytes(AsBytes(Watch(1, "sym")));
  EXPECT_THAT(std::string(guest.Last().message()), HasSubstr("takes no watches"));
}

TEST_F(ControlServerTest, AProtocolOfAnotherVersionIsRefused) {
  Send(*EncodeMessage(1, Hello{.protocol_version = 2, .scenario = "S"}));
  EXPECT_THAT(std::string(guest.Last().message()), HasSubstr("speaks protocol version 2"));
}

TEST_F(ControlServerTest, LostAnswersAreCounted) {
  ControlServer deaf([](absl::Span<const uint8_t>) { return absl::UnavailableError("full"); },
                     Handlers());
  deaf.OnBytes(AsBytes(Watch(1, "fine")));
  EXPECT_EQ(deaf.counters().replies_lost, 1u);
}

TEST_F(ControlServerTest, AReasonTooLongForAFrameIsCutAndSaysSo) {
  Send(Watch(1, "defer"));
  deferred[0].Reply(absl::NotFoundError(std::string(2 * kMaxFrameBytes, 'r')));
  EXPECT_EQ(guest.Last().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(guest.Last().message()), HasSubstr("131072 bytes of reason, cut"));
}

// 100,000 mutations of valid frames, half of them with their checks repaired: the server survives
// each, keeps its counters consistent, and answers the next good request.
TEST_F(ControlServerTest, SurvivesAHundredThousandMutations) {
  std::mt19937_64 random(1);
  const std::vector<std::string> seeds = {
      *EncodeMessage(1, Hello{.scenario = "Scenario", .guest_tsc = 1, .guest_monotonic_ns = 2}),
      *EncodeMessage(2, SnapshotRequest{SnapshotRequestKind::kCapture, "tag", {}}),
      *EncodeMessage(
          3, SnapshotRequest{SnapshotRequestKind::kWatch, "scx_watchdog_timestamp", {1, 2}}),
      *EncodeMessage(4, ScenarioResult{false, {"one", "two"}, "why"}),
      *EncodeMessage(5, HelloReply{1, {{"k", "v"}}}),
      *EncodeMessage(6, Log{"text"}),
      *EncodeMessage(7, Bye{}),
  };
  uint32_t good = 1u << 20;
  uint64_t answered = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string frame = seeds[random() % seeds.size()];
    for (uint64_t edits = 1 + random() % 4; edits > 0; --edits) {
      switch (random() % 4) {
        case 0: frame[random() % frame.size()] = static_cast<char>(random()); break;
        case 1: frame.insert(random() % frame.size(), 1, static_cast<char>(random())); break;
        case 2: frame.erase(random() % frame.size(), 1 + random() % 3); break;
        case 3: frame[random() % frame.size()] ^= static_cast<char>(1u << (random() % 8)); break;
      }
      if (frame.empty()) frame = "x";
    }
    if (i % 2 == 0) RepairChecks(frame);
    Send(frame);
    if (i % 100 != 99) continue;
    guest.answers.clear();
    Send(Watch(++good, "fine"));
    ASSERT_FALSE(guest.answers.empty()) << "after mutation " << i;
    ASSERT_EQ(guest.answers.back().sequence, good) << "after mutation " << i;
    ASSERT_TRUE(guest.Last().ok()) << guest.Last();
    ++answered;
  }
  EXPECT_EQ(answered, 1000u);
  const ControlCounters counters = server.counters();
  EXPECT_GT(counters.bad_frames, 10'000u);
  EXPECT_GT(counters.replies_error, counters.bad_frames - 1);
  EXPECT_GT(counters.frames, 1000u);
  EXPECT_EQ(counters.replies_lost, 0u);
}

}  // namespace
}  // namespace watchsnap
