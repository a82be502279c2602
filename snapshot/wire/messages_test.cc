#include "snapshot/wire/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "snapshot/wire/fields.h"
#include "snapshot/wire/frame.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

Frame AsFrame(const std::string& bytes) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  return {LoadFrameHeader(data),
          absl::MakeConstSpan(data, bytes.size()).subspan(kFrameHeaderBytes)};
}

template <typename T>
T RoundTrip(const T& message) {
  const std::string bytes = EncodeMessage(3, message).value();
  return std::get<T>(DecodeMessage(AsFrame(bytes)).value());
}

absl::Status DecodeError(MessageType type, const FieldWriter& fields) {
  const std::string bytes = EncodeFrame(type, 3, fields.payload()).value();
  return DecodeMessage(AsFrame(bytes)).status();
}

TEST(MessagesTest, HelloRoundTrip) {
  const Hello hello = RoundTrip(Hello{1, "WatchesTheWatchdog", ~0ull, 123456789});
  EXPECT_EQ(hello.protocol_version, 1u);
  EXPECT_EQ(hello.scenario, "WatchesTheWatchdog");
  EXPECT_EQ(hello.guest_tsc, ~0ull);
  EXPECT_EQ(hello.guest_monotonic_ns, 123456789u);
}

TEST(MessagesTest, ResultsCarryTheirWorkers) {
  ScenarioResult sent{.passed = true, .details = {"a"}, .exit_reason = "returned"};
  sent.workers.push_back({.cgroup = "front", .work = "pipe", .index = 1, .iterations = 10,
                          .wakeups = 9, .latency_sum_ns = 800, .latency_max_ns = 700,
                          .migrations = 6, .longest_gap_ns = ~0ull});
  sent.workers.push_back({.cgroup = "", .work = "spin"});
  const ScenarioResult result = RoundTrip(sent);
  EXPECT_EQ(result.details, sent.details);
  ASSERT_EQ(result.workers.size(), 2u);
  const WorkerReport& worker = result.workers[0];
  EXPECT_EQ(worker.cgroup, "front");
  EXPECT_EQ(worker.work, "pipe");
  EXPECT_EQ(worker.index, 1u);
  EXPECT_EQ(worker.iterations, 10u);
  EXPECT_EQ(worker.wakeups, 9u);
  EXPECT_EQ(worker.latency_sum_ns, 800u);
  EXPECT_EQ(worker.latency_max_ns, 700u);
  EXPECT_EQ(worker.migrations, 6u);
  EXPECT_EQ(worker.longest_gap_ns, ~0ull);
  EXPECT_EQ(result.workers[1].work, "spin");
  EXPECT_EQ(result.workers[1].iterations, 0u);
}

TEST(MessagesTest, ADamagedWorkerIsABadField) {
  FieldWriter fields;
  fields.U8(FieldTag::kPassed, 1).Bytes(FieldTag::kWorker, "x");
  EXPECT_THAT(std::string(DecodeError(MessageType::kScenarioResult, fields).message()),
              HasSubstr("worker 0"));
}

TEST(MessagesTest, HelloReplyRoundTrip) {
  const HelloReply reply = RoundTrip(HelloReply{2500, {{"scheduler", ":fifo"}, {"empty", ""}}});
  EXPECT_EQ(reply.hold_ms, 2500u);
  EXPECT_EQ(reply.parameters,
            (std::map<std::string, std::string>{{"scheduler", ":fifo"}, {"empty", ""}}));
}

TEST(MessagesTest, RequestsOfAnyLengthAreKeptByteForByte) {
  for (const size_t length : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{255},
                              size_t{256}, size_t{4096}, kMaxSubjectBytes}) {
    std::string symbol(length, '\0');
    for (size_t i = 0; i < length; ++i) symbol[i] = static_cast<char>(i * 7);
    const SnapshotRequest request = RoundTrip(SnapshotRequest{
        SnapshotRequestKind::kWatch, symbol, {.max_captures = 5, .max_frozen_permille = 100}});
    EXPECT_EQ(request.kind, SnapshotRequestKind::kWatch);
    EXPECT_EQ(request.subject, symbol);
    EXPECT_EQ(request.options.max_captures, 5u);
    EXPECT_EQ(request.options.max_frozen_permille, 100u);
  }
  EXPECT_EQ(
      EncodeMessage(
          1, SnapshotRequest{SnapshotRequestKind::kWatch, std::string(kMaxPayloadBytes, 'x'), {}})
          .status()
          .code(),
      absl::StatusCode::kResourceExhausted);
}

TEST(MessagesTest, VariablesAreKeptInOrder) {
  const std::vector<std::string> variables = {"jiffies_64", "", std::string("a\0b", 3)};
  for (const auto kind : {SnapshotRequestKind::kWatch, SnapshotRequestKind::kCapture}) {
    EXPECT_EQ(RoundTrip(SnapshotRequest{kind, "x", {.variables = variables}}).options.variables,
              variables);
  }
}

TEST(MessagesTest, AWatchsPoliciesComeBackUnchanged) {
  const WatchOptions asked = {.max_captures = 7,
                              .max_frozen_permille = 3,
                              .variables = {"jiffies_64"},
                              .when = WatchCondition::Masked(0xff00, 0x1200),
                              .every_nth = 10,
                              .min_interval_us = 1'000'000,
                              .on_budget = OnBudget::kDisarm,
                              .queue_full = QueueFull::kCount};
  const auto request = RoundTrip(
      SnapshotRequest{SnapshotRequestKind::kWatch, "x", WatchRequestOptions::Of(asked)});
  WatchOptions options = {.max_captures = 1, .every_nth = 2};
  request.options.ApplyTo(options);
  EXPECT_EQ(options, asked);
  // What is not said changes nothing.
  WatchRequestOptions{}.ApplyTo(options);
  EXPECT_EQ(options, asked);
}

TEST(MessagesTest, PoliciesWithoutAMeaningAreRefused) {
  const auto refused = [](FieldTag tag, uint64_t value, bool byte) {
    FieldWriter fields;
    fields.U8(FieldTag::kRequestKind, 2).Bytes(FieldTag::kSubject, "x");
    byte ? fields.U8(tag, static_cast<uint8_t>(value)) : fields.U64(tag, value);
    const std::string bytes =
        EncodeFrame(MessageType::kSnapshotRequest, 3, fields.payload()).value();
    return !DecodeMessage(AsFrame(bytes)).ok();
  };
  EXPECT_TRUE(refused(FieldTag::kConditionKind, 5, true));
  EXPECT_TRUE(refused(FieldTag::kEveryNth, 0, false));
  EXPECT_TRUE(refused(FieldTag::kOnBudget, 2, true));
  EXPECT_TRUE(refused(FieldTag::kQueueFull, 2, true));
  EXPECT_FALSE(refused(FieldTag::kConditionKind, 4, true));
  EXPECT_FALSE(refused(FieldTag::kEveryNth, 1, false));
}

TEST(MessagesTest, AbsentOptionsStayAbsent) {
  const auto request = RoundTrip(SnapshotRequest{SnapshotRequestKind::kCapture, "tag", {}});
  EXPECT_FALSE(request.options.max_captures.has_value());
  EXPECT_FALSE(request.options.max_frozen_permille.has_value());
}

TEST(MessagesTest, ReasonsAndCodesComeBackUnchanged) {
  const absl::Status status =
      absl::NotFoundError("symbol 'jiffys\xff\n' not found in vmlinux symtab");
  EXPECT_EQ(RoundTrip(SnapshotReply::FromStatus(status)).ToStatus(), status);
  EXPECT_TRUE(RoundTrip(SnapshotReply::FromStatus(absl::OkStatus())).ToStatus().ok());
}

TEST(MessagesTest, ANegativeReplyNeverTurnsPositive) {
  FieldWriter fields;
  fields.U8(FieldTag::kOk, 0).U32(FieldTag::kStatusCode, 0).Bytes(FieldTag::kReason, "no");
  const std::string bytes = EncodeFrame(MessageType::kSnapshotReply, 3, fields.payload()).value();
  const auto reply = std::get<SnapshotReply>(DecodeMessage(AsFrame(bytes)).value());
  EXPECT_FALSE(reply.ToStatus().ok());
  EXPECT_EQ(reply.ToStatus().message(), "no");
}

TEST(MessagesTest, ResultAndLogRoundTrip) {
  const auto result = RoundTrip(ScenarioResult{true, {"one", "", "three"}, "finished"});
  EXPECT_TRUE(result.passed);
  EXPECT_EQ(result.details, (std::vector<std::string>{"one", "", "three"}));
  EXPECT_EQ(result.exit_reason, "finished");
  EXPECT_EQ(RoundTrip(Log{"hello"}).text, "hello");
  RoundTrip(Bye{});
  RoundTrip(Ready{});
  RoundTrip(Go{});
}

TEST(MessagesTest, UnknownFieldsAreSkipped) {
  FieldWriter fields;
  fields.U64(static_cast<FieldTag>(999), 1)
      .Bytes(FieldTag::kText, "hello")
      .Bytes(static_cast<FieldTag>(1000), "newer");
  EXPECT_TRUE(DecodeError(MessageType::kLog, fields).ok());
}

TEST(MessagesTest, EveryKindOfBadMessageIsRefusedInWords) {
  const auto expect = [](MessageType type, const FieldWriter& fields, const char* words) {
    const absl::Status status = DecodeError(type, fields);
    EXPECT_FALSE(status.ok()) << words;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  constexpr auto kRequest = MessageType::kSnapshotRequest;
  expect(kRequest, FieldWriter().Bytes(FieldTag::kSubject, "s"), "without its field request_kind");
  expect(kRequest, FieldWriter().U8(FieldTag::kRequestKind, 2), "without its field subject");
  expect(kRequest, FieldWriter().U8(FieldTag::kRequestKind, 4).Bytes(FieldTag::kSubject, "s"),
         "request_kind must be 1 (capture), 2 (watch) or 3 (periodic capture), it is 4");
  expect(kRequest, FieldWriter().U8(FieldTag::kRequestKind, 2).Bytes(FieldTag::kSubject, ""),
         "needs a symbol");
  expect(kRequest, FieldWriter().U32(FieldTag::kRequestKind, 2), "must have 1 bytes, it has 4");
  expect(kRequest, FieldWriter().Bytes(FieldTag::kSubject, "a").Bytes(FieldTag::kSubject, "b"),
         "twice");
  expect(MessageType::kHello, FieldWriter().Bytes(FieldTag::kScenario, "s"), "protocol_version");
  expect(MessageType::kHelloReply, FieldWriter(), "hold_ms");
  expect(MessageType::kHelloReply, FieldWriter().Bytes(FieldTag::kParameterKey, "k"),
         "parameter_key without a parameter_value");
  expect(MessageType::kHelloReply, FieldWriter().Bytes(FieldTag::kParameterValue, "v"),
         "parameter_value without a parameter_key");
  expect(MessageType::kScenarioResult, FieldWriter().U8(FieldTag::kPassed, 2), "must be 0 or 1");
  expect(static_cast<MessageType>(77), FieldWriter(), "unknown message type 77");

  FieldWriter many;
  for (size_t i = 0; i <= kMaxRepeatedFields; ++i) many.Bytes(FieldTag::kDetail, "");
  expect(MessageType::kScenarioResult, many, "more than 1000 details");
}

TEST(MessagesTest, AFieldThatRunsPastThePayloadIsRefused) {
  std::string bytes = EncodeMessage(3, Log{"hello"}).value();
  bytes[kFrameHeaderBytes + 2] = 100;
  EXPECT_THAT(std::string(DecodeMessage(AsFrame(bytes)).status().message()),
              HasSubstr("text says it has 100 bytes, 5 are left"));
  bytes = EncodeMessage(3, Log{"hello"}).value() + "abc";
  EXPECT_THAT(std::string(DecodeMessage(AsFrame(bytes)).status().message()),
              HasSubstr("3 bytes are left, a field's header needs 6"));
}

}  // namespace
}  // namespace watchsnap
