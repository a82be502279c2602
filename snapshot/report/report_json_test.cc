#include "snapshot/report/report_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "snapshot/report/report_parse.h"
#include "snapshot/report/report_samples.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

std::string Json(const Report& report) {
  std::string out;
  AppendReportJson(report, out);
  return out;
}

TEST(ReportJsonTest, AFullReportIsTheContractsLine) {
  EXPECT_EQ(
      Json(FullReport()),
      R"({"schema":"watchsnap.capture/1","tag":"jiffies_64","seq":7,"trigger":{"kind":"watch",)"
      R"("symbol":"jiffies_64","address":"0xffffffff82a07980","slot":1,"vcpu":1,"watched_bytes":8,)"
      R"("symbol_bytes":8,"old":4294892296,"new":18446744073709551615,)"
      R"("guest_time_ns":1234567890123,"host_time_ns":777000111222,"freeze":41,"writer":{"address":"0xffffffff8113f0c4",)"
      R"("symbol":"tick_do_update_jiffies64","offset":148,"file":"kernel/time/tick-sched.c",)"
      R"("line":102,"inlined":[{"function":"do_timer"}]},)"
      R"("stack":[{"address":"0x1"}, {"address":"0x2"}]},"vcpus":[{"index":0,"registers":)"
      R"({"rip":"0xffffffff81e3b2ef","rsp":"0x0"},"symbol":"pv_native_safe_halt","offset":15,)"
      R"("task":{"pid":0,"comm":"swapper/0"}},{"index":1,"registers":)"
      R"({"rip":"0xffffffffffffffff"}}],"maps":{"mini.bss":{"value":{"nr_enqueued":3}}},)"
      R"("answer":42,"nothing":null,"text":"a\nb","cost":{"freeze_ns":12000,"evidence_ns":3400,)"
      R"("thaw_ns":800,"pause_ns":16200,"hidden_ns":16000,"evidence_bytes":2048},)"
      R"("degraded":[{"what":"writer","why":"no room to decode \"before\" it"}]})");
}

TEST(ReportJsonTest, ASmallReportHasNullsWhereTheContractSaysSo) {
  EXPECT_EQ(Json(SmallReport()),
            R"({"schema":"watchsnap.capture/1","tag":"mid","seq":0,"trigger":{"kind":"snapshot",)"
            R"("slot":null,"old":null,"new":null},"vcpus":[],"cost":{"freeze_ns":0,)"
            R"("evidence_ns":0,"thaw_ns":0,"pause_ns":0},"degraded":[]})");
}

TEST(ReportJsonTest, RoundTrip) {
  for (const Report& report : {FullReport(), SmallReport()}) {
    const absl::StatusOr<Report> back = ParseReport(Json(report));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, report);
  }
}

TEST(ReportJsonTest, EveryTriggerKindComesBack) {
  for (const TriggerKind kind :
       {TriggerKind::kWatch, TriggerKind::kSnapshot, TriggerKind::kExitKind, TriggerKind::kPeriodic,
        TriggerKind::kFinal}) {
    Report report = SmallReport();
    report.trigger.kind = kind;
    EXPECT_EQ(ParseReport(Json(report))->trigger.kind, kind);
  }
}

TEST(ReportJsonTest, TagsOfAnyBytesComeBack) {
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte += static_cast<char>(i);
  for (const std::string& tag : {std::string(), std::string("a\nb"), std::string("ä"), every_byte,
                                 std::string("\xff"), std::string(1, '\0')}) {
    Report report = SmallReport();
    report.tag = tag;
    const std::string line = Json(report);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const absl::StatusOr<Report> back = ParseReport(line);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->tag, tag);
  }
}

TEST(ReportJsonTest, OtherTextThatIsNotUtf8StaysReadable) {
  Report report = SmallReport();
  report.degraded = {{"comm", "\xfe garbage"}};
  const absl::StatusOr<Report> back = ParseReport(Json(report));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->degraded[0].why, "\xEF\xBF\xBD garbage");
}

TEST(ReportJsonTest, LineEndsInsideMembersDoNotBreakTheLine) {
  Report report = SmallReport();
  report.more = {{"maps", "{\n \"a\": 1\n}"}};
  const std::string line = Json(report);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(*FindMember(ParseReport(line)->more, "maps"), "{  \"a\": 1 }");
}

TEST(ReportJsonTest, WriterKnownOnlyByItsNextAddress) {
  Report report = SmallReport();
  report.trigger.writer = CodeLocation{.next_address = 0x1234};
  EXPECT_THAT(Json(report), HasSubstr(R"("writer":{"next_address":"0x1234"})"));
  EXPECT_EQ(*ParseReport(Json(report)), report);
}

TEST(ReportJsonTest, Summary) {
  std::string line;
  AppendSummaryJson(
      {.armed = 1, .hits = 15, .captured = 10, .coalesced = 2, .suppressed = 3, .lost = 0}, line);
  EXPECT_EQ(line, R"({"schema":"watchsnap.summary/1","summary":{"armed":1,"hits":15,"captured":10,)"
                  R"("coalesced":2,"suppressed":3,"lost":0}})");
  ReportParser parser;
  const auto back = parser.Parse(line);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(std::get<WatchCounters>(*back).hits, 15u);
  EXPECT_EQ(std::get<WatchCounters>(*back).suppressed, 3u);
  EXPECT_FALSE(ParseReport(line).ok());
}

TEST(ReportJsonTest, MembersInAnyOrderAndUnknownOnesAreKept) {
  const auto report = ParseReport(
      R"( {"seq": 3, "later": [1, {"a": 2.50}] , "trigger": {"new": 2, "kind": "watch", "odd": 1e3 },)"
      R"( "tag": "t", "schema": "watchsnap.capture/1"} )");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->seq, 3u);
  EXPECT_EQ(report->trigger.new_value, 2u);
  EXPECT_EQ(*FindMember(report->more, "later"), R"([1, {"a": 2.50}])");
  EXPECT_EQ(*FindMember(report->trigger.more, "odd"), "1e3");
}

TEST(ReportJsonTest, ErrorsNameThePlaceAndWhatStoodThere) {
  const auto expect = [](std::string_view line, const char* words) {
    const absl::Status status = ParseReport(line).status();
    EXPECT_FALSE(status.ok()) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words)) << line;
  };
  const std::string head = R"({"schema":"watchsnap.capture/1","tag":"t","seq":0,"trigger":)";
  expect(head + R"({"kind":"watch","slot":"x"}})", "trigger.slot: expected an integer");
  expect(head + R"({"kind":"watch","slot":"x"}})", R"(found "x")");
  expect(head + R"({"kind":"watch","slot":3000000000}})", "trigger.slot");
  expect(head + R"({"kind":"watch","old":-1}})",
         "trigger.old: expected an integer that is not negative");
  expect(head + R"({"kind":"watch","address":"12"}})",
         "trigger.address: expected a \"0x…\" string");
  expect(head + R"({"kind":"watch","address":"0x12345678123456781"}})", "trigger.address");
  expect(head + R"({"kind":"odd"}})", "found 'odd'");
  expect(head + R"({}})", "no kind");
  expect(head + R"([]})", "trigger: expected an object, found [");
  expect(R"({"schema":"watchsnap.capture/2","tag":"t"})", "found watchsnap.capture/2");
  expect(R"({"tag":"t"})", "found none");
  expect(R"({"schema":"watchsnap.capture/1","seq":0})", "without a tag");
  expect(R"([1])", "expected a JSON object");
  expect("", "not well-formed");
  expect("garbage", "");
  EXPECT_EQ(ParseReport(R"({"schema":"x"})").status().code(),
            absl::StatusCode::kFailedPrecondition);
  expect(Json(SmallReport()) + "}", "follows");
  expect(Json(SmallReport()) + " {}", "");
}

TEST(ReportJsonTest, NoProperPrefixOfALineIsALine) {
  const std::string line = Json(FullReport());
  ReportParser parser;
  for (size_t length = 0; length < line.size(); ++length) {
    EXPECT_FALSE(parser.IsWellFormed(line.substr(0, length))) << length;
    EXPECT_FALSE(parser.Parse(line.substr(0, length)).ok()) << length;
  }
  EXPECT_TRUE(parser.IsWellFormed(line));
}

TEST(WatchCountersTest, TheyMustAddUp) {
  WatchCounters counters{
      .armed = 1, .hits = 10, .captured = 7, .coalesced = 1, .suppressed = 1, .lost = 1};
  EXPECT_TRUE(CheckConsistent(counters).ok());
  EXPECT_EQ(CountersText(counters), "10 hits, 7 captured, 1 coalesced, 1 suppressed, 1 lost");
  counters.lost = 0;
  EXPECT_THAT(std::string(CheckConsistent(counters).message()),
              HasSubstr("10 hits are not 7 captured"));
}

}  // namespace
}  // namespace watchsnap
