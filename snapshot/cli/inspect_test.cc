#include "snapshot/cli/inspect.h"

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/cli/exit_codes.h"
#include "snapshot/report/json_document.h"
#include "snapshot/report/report.h"
#include "snapshot/report/report_json.h"
#include "snapshot/report/report_samples.h"
#include "snapshot/report/sidecar_writer.h"

namespace watchsnap {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Report Sample(int seq) {
  Report report = FullReport();
  report.seq = seq;
  report.trigger.old_value = 100 + seq;
  report.trigger.new_value = 101 + seq;
  report.vcpus[0].registers[0].value = 0x1000 + seq;
  report.more = {
      {"maps", seq == 0 ? R"({"mini.bss":{"id":1,"value":{"nr_enqueued":3,"same":1}},)"
                          R"("counters":{"entries":[{"key":7,"value":{"hits":70}},)"
                          R"({"key":9,"value":{"hits":90}}]}})"
                        : R"({"mini.bss":{"id":1,"value":{"nr_enqueued":1,"same":1}},)"
                          R"("counters":{"entries":[{"key":8,"value":{"hits":1}},)"
                          R"({"key":7,"value":{"hits":75}}]}})"},
      {"console_tail", R"("one\ntwo")"},
  };
  return report;
}

std::string Write(const std::string& name, bool finish = true) {
  auto writer = SidecarWriter::Create(::testing::TempDir() + "/inspect_test", name, "jiffies_64");
  EXPECT_TRUE((*writer)->Append(Sample(0)).ok());
  EXPECT_TRUE((*writer)->Append(Sample(1)).ok());
  if (finish) {
    EXPECT_TRUE((*writer)->Finish({.armed = 1, .hits = 3, .captured = 2, .lost = 1}).ok());
  }
  return (*writer)->path();
}

// Standard output of a command that succeeds.
std::string Out(const std::string& file, std::string_view path, bool json = false) {
  const CommandOutput output = Inspect(file, path, json);
  EXPECT_EQ(output.exit_code, kExitOk) << output.err;
  EXPECT_EQ(output.err, "");
  return output.out;
}

TEST(InspectTest, CapturesAreListed) {
  const std::string table = Out(Write("List"), "");
  EXPECT_THAT(table, AllOf(HasSubstr("#  KIND"), HasSubstr("    0  watch"), HasSubstr("    1  watch"),
                           HasSubstr("tick_do_update_jiffies64+0x94"),
                           HasSubstr("[maps 2, degraded 1, console_tail]"),
                           HasSubstr("3 hits, 2 captured")));
  EXPECT_EQ(Out(Write("List"), "captures"), table);
  EXPECT_THAT(Out(Write("Unfinished", false), ""), HasSubstr("There is no summary"));
}

TEST(InspectTest, TheListAsJsonIsADocument) {
  const auto document = JsonParser().Parse(Out(Write("Json"), "", true));
  ASSERT_TRUE(document.ok()) << document.status();
  const JsonNode root = (*document)->root();
  ASSERT_EQ(root.Member("captures")->size(), 2u);
  EXPECT_EQ(root.Member("captures")->Item(1)->Member("new")->Uint(), 102u);
  EXPECT_EQ(root.Member("captures")->Item(1)->Member("kind")->String(), "watch");
  EXPECT_EQ(root.Member("summary")->Member("lost")->Uint(), 1u);
}

TEST(InspectTest, ScalarsPrintBare) {
  const std::string file = Write("Scalars");
  EXPECT_EQ(Out(file, "captures[0].maps[\"mini.bss\"].value.nr_enqueued"), "3\n");
  EXPECT_EQ(Out(file, "captures[0].vcpus[0].task.comm"), "swapper/0\n");
  EXPECT_EQ(Out(file, "captures[1].trigger.address"), "0xffffffff82a07980\n");
  EXPECT_EQ(Out(file, "captures[1].console_tail"), "one\ntwo\n");
  EXPECT_EQ(Out(file, "captures[1].console_tail", true), "\"one\\ntwo\"\n");
  EXPECT_EQ(Out(file, "summary.hits"), "3\n");
}

TEST(InspectTest, TreesAreReadable) {
  const std::string file = Write("Trees");
  const std::string tree = Out(file, "captures[0]");
  EXPECT_THAT(tree, HasSubstr("trigger:\n  kind: watch\n  symbol: jiffies_64\n"));
  EXPECT_THAT(tree, HasSubstr("console_tail:\n  | one\n  | two\n"));
  EXPECT_THAT(tree, HasSubstr("  [0]\n    index: 0\n    registers: {rip: 0x1000, rsp: 0x0}\n"));
  EXPECT_THAT(tree, HasSubstr("  mini.bss: {id: 1, value: {nr_enqueued: 3, same: 1}}\n"));
  EXPECT_EQ(Out(file, "captures[0].maps.counters.entries"),
            "[0] {key: 7, value: {hits: 70}}\n[1] {key: 9, value: {hits: 90}}\n");
  EXPECT_EQ(Out(file, "captures[0].maps[\"mini.bss\"].value", true),
            "{\"nr_enqueued\":3,\"same\":1}\n");
}

TEST(InspectTest, WhatIsNotThereIsAnErrorWithAlternatives) {
  const std::string file = Write("Errors");
  const auto expect = [&](std::string_view path, int code, const char* words) {
    const CommandOutput output = Inspect(file, path, false);
    EXPECT_EQ(output.exit_code, code) << path;
    EXPECT_THAT(output.err, HasSubstr(words));
    EXPECT_EQ(output.out, "");
  };
  expect("captures[2]", 1, "it holds captures[0] to captures[1]");
  expect("captures[0].maps[\"mini.bss\"].value.nr_enqued", 1, "did you mean 'nr_enqueued'");
  expect("maps", 1, "captures[0] to captures[1], summary");
  expect("captures.x", 1, "captures goes by number");
  expect("captures[0]..x", 1, "a name was expected");
  EXPECT_EQ(Inspect("/nonexistent.jsonl", "", false).exit_code, kExitUsage);
  EXPECT_THAT(Inspect("/nonexistent.jsonl", "", false).err, HasSubstr("/nonexistent.jsonl"));
}

TEST(InspectTest, TornAndDamagedLinesAreSaid) {
  const std::string file = Write("Torn", false);
  std::ofstream(file, std::ios::app) << "{\"schema\":\"watch";
  EXPECT_THAT(Out(file, ""), HasSubstr("Line 3 is torn"));
  std::ofstream(file, std::ios::app) << "\n{\"x\":1}\n";
  const CommandOutput output = Inspect(file, "", false);
  EXPECT_EQ(output.exit_code, kExitUsage);
  EXPECT_THAT(output.out, AllOf(HasSubstr("    1  watch"), HasSubstr("    2  damaged")));
  EXPECT_THAT(output.err, HasSubstr(":3: "));
}

TEST(InspectTest, AFailureDumpIsReadByItsOwnMembersToo) {
  const std::string file = ::testing::TempDir() + "/Test.failure-dump.json";
  std::string text;
  AppendReportJson(Sample(0), text);
  text.insert(1, "\n ");
  std::ofstream(file) << text << "\n";
  EXPECT_EQ(Out(file, "captures[0].maps[\"mini.bss\"].value.nr_enqueued"), "3\n");
  EXPECT_EQ(Out(file, "maps[\"mini.bss\"].value.nr_enqueued"), "3\n");
  EXPECT_THAT(Out(file, ""), AllOf(HasSubstr("    0  watch"), Not(HasSubstr("no summary"))));
}

TEST(DiffTest, OnlyWhatChangedIsShown) {
  const CommandOutput output = Diff(Write("Diff"), "0", "captures[1]", false);
  ASSERT_EQ(output.exit_code, kExitOk) << output.err;
  EXPECT_THAT(output.out, HasSubstr("captures[0] (jiffies_64#0) → captures[1] (jiffies_64#1)\n"));
  EXPECT_THAT(output.out, HasSubstr("trigger\n  old: 100 → 101 (+1)\n  new: 101 → 102 (+1)\n"));
  EXPECT_THAT(output.out, HasSubstr("vcpus[0]\n  registers.rip: 0x1000 → 0x1001\n"));
  EXPECT_THAT(output.out, HasSubstr("maps[\"mini.bss\"]\n  value.nr_enqueued: 3 → 1 (-2)\n"));
  EXPECT_THAT(output.out, HasSubstr("entries[1].value.hits (key 7): 70 → 75 (+5)"));
  EXPECT_THAT(output.out, HasSubstr("(key 9): gone: "));
  EXPECT_THAT(output.out, HasSubstr("(key 8): new: "));
  EXPECT_THAT(output.out, Not(HasSubstr("same")));
  EXPECT_THAT(Diff(Write("Diff"), "1", "1", false).out, HasSubstr("\n0 differences\n"));
}

TEST(DiffTest, AsJson) {
  const CommandOutput output = Diff(Write("DiffJson"), "0", "1", true);
  const auto document = JsonParser().Parse(output.out);
  ASSERT_TRUE(document.ok()) << document.status();
  bool seen = false;
  (*document)->root().ForEachItem([&](JsonNode one) {
    if (one.Member("path")->String() == "maps[\"mini.bss\"].value.nr_enqueued") {
      seen = true;
      EXPECT_EQ(one.Member("a")->Uint(), 3u);
      EXPECT_EQ(one.Member("b")->Uint(), 1u);
      EXPECT_EQ(one.Member("delta")->Int(), -2);
      EXPECT_EQ(one.Member("change")->String(), "changed");
    }
    return true;
  });
  EXPECT_TRUE(seen);
}

TEST(DiffTest, MistakesAreSaid) {
  const std::string file = Write("DiffErrors");
  EXPECT_EQ(Diff(file, "0", "7", false).exit_code, kExitFailed);
  EXPECT_THAT(Diff(file, "0", "7", false).err, HasSubstr("captures[0] to captures[1]"));
  EXPECT_EQ(Diff(file, "x", "0", false).exit_code, kExitUsage);
  EXPECT_EQ(Diff("/nonexistent", "0", "1", false).exit_code, kExitUsage);
}

}  // namespace
}  // namespace watchsnap
