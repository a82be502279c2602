#include "snapshot/report/schema_check.h"

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/report/json_document.h"
#include "snapshot/report/report_json.h"
#include "snapshot/report/report_samples.h"
#include "snapshot/report/sidecar_writer.h"

namespace watchsnap {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SchemaFindings Check(std::string_view json) {
  absl::StatusOr<std::shared_ptr<const JsonDocument>> document = JsonParser().Parse(json);
  EXPECT_TRUE(document.ok()) << document.status() << json;
  return document.ok() ? CheckSchema((*document)->root()) : SchemaFindings();
}

// The examples of the page, in order.
std::vector<std::string> Examples() {
  std::ifstream in("snapshot/report/schema.md");
  std::vector<std::string> examples;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line == "```json") {
      inside = true;
    } else if (line == "```") {
      inside = false;
    } else if (inside) {
      examples.push_back(line);
    }
  }
  return examples;
}

TEST(SchemaCheckTest, ThePagesExamplesHoldAllThatIsKnownAndNothingElse) {
  const std::vector<std::string> examples = Examples();
  ASSERT_EQ(examples.size(), 5u) << "a hit, a failure dump, a last capture and two summaries";
  std::set<std::string> missing = KnownMembers();
  EXPECT_GT(missing.size(), 100u);
  for (const std::string& example : examples) {
    const SchemaFindings findings = Check(example);
    EXPECT_THAT(findings.errors, IsEmpty()) << example;
    EXPECT_THAT(findings.unknown, IsEmpty()) << example;
    for (const std::string& member : findings.seen) missing.erase(member);
  }
  EXPECT_THAT(missing, IsEmpty()) << "known, and in no example of schema.md";
}

TEST(SchemaCheckTest, WhatTheWriterWritesFits) {
  for (const Report& report : {FullReport(), SmallReport()}) {
    std::string json;
    AppendReportJson(report, json);
    // The sample's map and task are not whole.
    EXPECT_THAT(Check(json).errors,
                ::testing::Each(::testing::AnyOf("maps[\"mini.bss\"]: it has no id",
                                                 "maps[\"mini.bss\"]: it has no type",
                                                 "vcpus[0].task: it has no address")));
  }
  std::string summary;
  AppendSummaryJson({.armed = 1, .hits = 3, .captured = 2, .lost = 1}, summary);
  EXPECT_THAT(Check(summary).errors, IsEmpty());
}

constexpr char kHead[] = R"({"schema":"watchsnap.capture/1","tag":"t","seq":0,)";

std::vector<std::string> Errors(std::string_view rest) { return Check(kHead + std::string(rest)).errors; }

TEST(SchemaCheckTest, ErrorsNameThePlaceAndWhatStoodThere) {
  EXPECT_THAT(Errors(R"("trigger":{"kind":"watch"}})"), IsEmpty());
  EXPECT_THAT(Errors(R"("trigger":{"kind":"odd"}})"), ElementsAre(HasSubstr("trigger.kind: ")));
  EXPECT_THAT(Errors(R"("trigger":{}})"), ElementsAre("trigger: it has no kind"));
  EXPECT_THAT(Check(R"({"schema":"watchsnap.capture/1"})").errors,
              Contains("the document: it has no tag"));
  const std::string trigger = R"("trigger":{"kind":"watch"},)";
  EXPECT_THAT(
      Errors(trigger + R"("vcpus":[{"index":0},{"index":1,"task":{"address":"0x1","pid":"x"}}]})"),
      ElementsAre("vcpus[1].task.pid: expected an integer, found \"x\""));
  EXPECT_THAT(Errors(trigger + R"("vcpus":[{"index":0,"registers":{"rip":12}}]})"),
              ElementsAre("vcpus[0].registers[\"rip\"]: expected a \"0x…\" string of 64 bits, "
                          "found 12"));
  EXPECT_THAT(Errors(trigger + R"("maps":{"m":{"id":1,"type":"hash","value":1,"entries":[]}}})"),
              ElementsAre("maps[\"m\"]: it has both value and entries"));
  EXPECT_THAT(Errors(trigger + R"("maps":{"m":{"id":1,"type":"hash","entries":[{"value":1}]}}})"),
              ElementsAre("maps[\"m\"].entries[0]: it has no key"));
  EXPECT_THAT(Errors(trigger + R"("objects":{"12":{"type":"a","value":1}}})"),
              ElementsAre(HasSubstr("no \"0x…\" address")));
  EXPECT_THAT(Errors(trigger + R"("degraded":[{"what":"x"}]})"),
              ElementsAre("degraded[0]: it has no why"));
  EXPECT_THAT(Errors(trigger + R"("cost":null})"), Contains(HasSubstr("cost: expected an object")));
}

TEST(SchemaCheckTest, UnknownMembersAreToldAndAreNoErrors) {
  const SchemaFindings findings =
      Check(std::string(kHead) + R"("trigger":{"kind":"watch","later":1},"more":{}})");
  EXPECT_THAT(findings.errors, IsEmpty());
  EXPECT_THAT(findings.unknown, ElementsAre("trigger.later", "more"));
}

TEST(SchemaCheckTest, SummariesAddUp) {
  EXPECT_THAT(Check(R"({"schema":"watchsnap.summary/1","summary":{"armed":1,"hits":5,"captured":2,)"
                    R"("coalesced":0,"suppressed":0,"lost":0}})")
                  .errors,
              ElementsAre(HasSubstr("5 hits, but 2")));
  EXPECT_THAT(Check(R"({"schema":"x"})").errors, ElementsAre(HasSubstr("schema: expected")));
  EXPECT_THAT(Check("[]").errors, ElementsAre(HasSubstr("found none")));
}

TEST(SchemaCheckTest, FilesAreCheckedLineByLine) {
  auto writer =
      SidecarWriter::Create(::testing::TempDir() + "/schema_check_test", "Test", "jiffies_64");
  ASSERT_TRUE((*writer)->Append(SmallReport()).ok());
  EXPECT_TRUE(CheckFileSchema((*writer)->path()).ok());
  Report wrong = SmallReport();
  wrong.more = {{"variables", "[]"}};
  ASSERT_TRUE((*writer)->Append(wrong).ok());
  EXPECT_THAT(std::string(CheckFileSchema((*writer)->path()).message()),
              HasSubstr("captures[1]: variables: expected an object, found []"));
}

}  // namespace
}  // namespace watchsnap
