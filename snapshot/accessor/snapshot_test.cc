#include "snapshot/accessor/snapshot.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/report/report.h"
#include "snapshot/report/report_samples.h"
#include "snapshot/report/sidecar_file.h"
#include "snapshot/report/sidecar_writer.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOkAndHolds;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using enum absl::StatusCode;

Report Sample() {
  Report report = FullReport();
  report.degraded = {
      {"maps[\"cut\"]", "1 of 3 entries: the limit is 1"},
      {"maps[\"lost.bss\"].value", "its page was not copied"},
      {"vcpus[1].task", "the task was freed"},
      {"old, new", "the watched bytes could not be read"},
      {"variables.message", "the text is cut: the limit is 4 bytes"},
      {"variables[\"percpu\"].per_cpu[1].name", "was not copied"},
      {"maps[\"tasks\"].entries[2].value.runtime", "its bytes were not copied"},
  };
  report.trigger.old_value.reset();
  report.trigger.more.push_back({"ptr", R"("0xffff8881000a0000")"});
  report.more = {
      {"maps",
       R"({"mini.bss":{"id":3,"type":"array","value":{"nr_enqueued":3,"big":18446744073709551615,)"
       R"("stats":{"min":-5,"on":true,"ratio":2.5,"mode":"FAST"},"list":[10,20],"shared":1,)"
       R"("root":"0xffff888100000000","nothing":"0x0","lost":"0xffff8881000b0000"}},)"
       R"("other.bss":{"id":4,"type":"array","value":{"shared":2}},)"
       R"("counters":{"id":5,"type":"hash","entries":[{"key":7,"value":{"hits":70}},)"
       R"({"key":9,"value":{"hits":90}},{"key":8,"value":{"hits":80}}],"entries_total":3},)"
       R"("slots":{"id":6,"type":"array","entries":[{"key":0,"value":5},{"key":2,"value":6}],)"
       R"("entries_total":2},)"
       R"("percpu":{"id":7,"type":"percpu_array","entries":[{"key":0,"values":[11,{"x":12}]}],)"
       R"("entries_total":1},)"
       R"("cut":{"id":8,"type":"hash","entries":[{"key":"a","value":1}],"entries_total":3},)"
       R"("tasks":{"id":9,"type":"hash","entries":[{"key":1,"value":{"comm":"init","runtime":5}},)"
       R"({"key":2,"value":{"comm":"sh","runtime":18446744073709551615}},)"
       R"({"key":3,"value":{"comm":"ls","runtime":null}}],"entries_total":3},)"
       R"("lost.bss":{"id":10,"type":"array","value":null}})"},
      {"variables",
       R"({"jiffies_64":{"address":"0xffffffff82a07980","type":"u64","bytes":8,"value":42},)"
       R"("runqueues":{"type":"struct rq","bytes":4,"per_cpu":[{"address":"0x1","value":)"
       R"({"nr":1}},{"address":"0x2","value":{"nr":2}}]},)"
       R"("message":{"type":"char[8]","value":"abcd"},)"
       R"("percpu":{"type":"x","per_cpu":[{"value":{"name":"a"}},{"value":{"name":null}}]}})"},
      {"objects",
       R"({"0xffff888100000000":{"type":"struct a","value":{"name":"root",)"
       R"("next":"0xffff888100000000"}},)"
       R"("0xffff8881000a0000":{"type":"struct b","value":{"pid":1}}})"},
  };
  return report;
}

// The same capture live and from a sidecar on disk, through the same code.
enum class From { kLive, kSidecar };

class SnapshotTest : public ::testing::TestWithParam<From> {
 protected:
  Snapshot Take(Report report = Sample()) {
    if (GetParam() == From::kLive) return Snapshot(std::move(report));
    auto writer = SidecarWriter::Create(::testing::TempDir() + "/snapshot_test", "Test", report.tag);
    EXPECT_TRUE((*writer)->Append(report).ok());
    auto file = SidecarFile::Open((*writer)->path());
    EXPECT_TRUE(file.ok()) << file.status();
    return Snapshot(file->Document(0));
  }
  const Snapshot snapshot_ = Take();
};

TEST_P(SnapshotTest, VariablesOfPrograms) {
  EXPECT_THAT(snapshot_.Var("nr_enqueued").AsU64(), IsOkAndHolds(3u));
  EXPECT_THAT(snapshot_.Var("big").AsU64(), IsOkAndHolds(~0ull));
  EXPECT_THAT(snapshot_.Var("stats").Get("min").AsI64(), IsOkAndHolds(-5));
  EXPECT_THAT(snapshot_.Var("stats").Get("on").AsBool(), IsOkAndHolds(true));
  EXPECT_THAT(snapshot_.Var("stats").Get("ratio").AsF64(), IsOkAndHolds(2.5));
  EXPECT_THAT(snapshot_.Var("stats").Get("mode").AsStr(), IsOkAndHolds("FAST"));
  EXPECT_THAT(snapshot_.Var("list").Get("[1]").AsU64(), IsOkAndHolds(20u));
  EXPECT_THAT(snapshot_.Var("other.bss.shared").AsU64(), IsOkAndHolds(2u));
  EXPECT_THAT(snapshot_.Map("mini.bss").Get("stats.min").AsI64(), IsOkAndHolds(-5));
  EXPECT_THAT(snapshot_.Map("mini.bss").At(0).Get("nr_enqueued").AsU64(), IsOkAndHolds(3u));
  EXPECT_THAT(snapshot_.Map("mini.bss").Attribute("type").AsStr(), IsOkAndHolds("array"));
}

TEST_P(SnapshotTest, VariablesOfTheKernel) {
  EXPECT_THAT(snapshot_.KernelVar("jiffies_64").AsU64(), IsOkAndHolds(42u));
  EXPECT_THAT(snapshot_.KernelVar("runqueues").Cpu(1).Get("nr").AsU64(), IsOkAndHolds(2u));
  EXPECT_THAT(snapshot_.KernelVar("runqueues").Get("nr").AsU64(),
              StatusIs(kFailedPrecondition, HasSubstr("choose one of its 2 by Cpu(0) to Cpu(1)")));
  EXPECT_THAT(snapshot_.KernelVar("runqueues").Cpu(2).Get("nr").AsU64(),
              StatusIs(kOutOfRange, HasSubstr("[2] is past its last, [1]")));
  EXPECT_THAT(snapshot_.KernelVar("jiffies_64").Cpu(0).AsU64(),
              StatusIs(kInvalidArgument, HasSubstr("is not per-CPU")));
  EXPECT_THAT(snapshot_.KernelVar("jiffies").AsU64(),
              StatusIs(kNotFound, AllOf(HasSubstr("did you mean 'jiffies_64'"),
                                        HasSubstr("runqueues"), HasSubstr("Op::Snapshot"))));
}

TEST_P(SnapshotTest, MapsByKeyPlacePredicateAndGreatest) {
  const SnapshotMap counters = snapshot_.Map("counters");
  EXPECT_THAT(counters.Find(9).Get("hits").AsU64(), IsOkAndHolds(90u));
  EXPECT_THAT(counters.At(2).Key().AsU64(), IsOkAndHolds(8u));
  EXPECT_THAT(counters.MaxBy("hits").Key().AsU64(), IsOkAndHolds(9u));
  EXPECT_THAT(counters.MaxBy([](const SnapshotEntry& e) { return e.Key().AsU64(); }).Key().AsU64(),
              IsOkAndHolds(9u));
  EXPECT_THAT(counters.Count(), IsOkAndHolds(3u));
  EXPECT_THAT(
      counters.Find([](const SnapshotEntry& e) { return e.Get("hits").Is(80); }).Key().AsU64(),
      IsOkAndHolds(8u));
  const SnapshotMap large = counters.Filter(
      [](const SnapshotEntry& e) { return e.Get("hits").AsU64().value_or(0) > 75; });
  EXPECT_THAT(large.Count(), IsOkAndHolds(2u));
  EXPECT_THAT(large.At(1).Key().AsU64(), IsOkAndHolds(8u));
  EXPECT_THAT(large.Find(7).AsU64(), StatusIs(kNotFound));
  EXPECT_THAT(snapshot_.Map("tasks").Find([](const auto& e) { return e.Get("comm").Is("sh"); })
                  .Get("runtime").AsU64(),
              IsOkAndHolds(~0ull));
  // An array's index is its key, wherever the entry stands.
  EXPECT_THAT(snapshot_.Map("slots").At(2).AsU64(), IsOkAndHolds(6u));
  EXPECT_THAT(snapshot_.Map("slots").At(1).AsU64(), StatusIs(kOutOfRange));
}

TEST_P(SnapshotTest, PerCpuMaps) {
  EXPECT_THAT(snapshot_.Map("percpu").At(0).Cpu(0).AsU64(), IsOkAndHolds(11u));
  EXPECT_THAT(snapshot_.Map("percpu").Cpu(1).At(0).Get("x").AsU64(), IsOkAndHolds(12u));
  EXPECT_THAT(snapshot_.Map("percpu").At(0).AsU64(),
              StatusIs(kFailedPrecondition, HasSubstr("maps.percpu.entries[0].values is per-CPU")));
}

TEST_P(SnapshotTest, PathsIntoTheWhole) {
  EXPECT_THAT(snapshot_.Get("vcpus[0].task.comm").AsStr(), IsOkAndHolds("swapper/0"));
  EXPECT_THAT(snapshot_.Get("vcpus[1].registers.rip").AsU64(), IsOkAndHolds(~0ull));
  EXPECT_THAT(snapshot_.Get("trigger.writer.symbol").AsStr(),
              IsOkAndHolds("tick_do_update_jiffies64"));
  EXPECT_THAT(snapshot_.Get("trigger.new").AsU64(), IsOkAndHolds(~0ull));
  EXPECT_THAT(snapshot_.Get("maps[\"mini.bss\"].value.stats.on").Is(true), IsOkAndHolds(true));
  EXPECT_THAT(snapshot_.Get("vcpus").Items()->size(), 2u);
  EXPECT_THAT(snapshot_.Get("maps[\"other.bss\"].value").ToJson(), IsOkAndHolds("{\"shared\":2}"));
  EXPECT_THAT(snapshot_.MapNames(), ::testing::Contains("counters"));
}

TEST_P(SnapshotTest, PointersAreFollowedWhereThePointeeWasCaptured) {
  EXPECT_THAT(snapshot_.Var("root").Get("name").AsStr(), IsOkAndHolds("root"));
  EXPECT_THAT(snapshot_.Var("root").Get("next.next.name").AsStr(), IsOkAndHolds("root"));
  EXPECT_THAT(snapshot_.Var("root").AsU64(), IsOkAndHolds(0xffff888100000000u));
  EXPECT_THAT(snapshot_.Get("trigger.ptr.pid").AsU64(), IsOkAndHolds(1u));
  EXPECT_THAT(snapshot_.Var("nothing").Get("name").AsStr(),
              StatusIs(kNotFound, HasSubstr("maps[\"mini.bss\"].value.nothing is a null pointer")));
  EXPECT_THAT(snapshot_.Var("lost").Get("name").AsStr(),
              StatusIs(kDataLoss, HasSubstr("pointee was not captured; captured are 2 objects")));
  EXPECT_THAT(snapshot_.Var("root").Get("nam").AsStr(),
              StatusIs(kNotFound, HasSubstr("did you mean 'name'? its members are: name, next")));
  std::string round = "next";
  for (int i = 0; i < 100; ++i) round += ".next";
  EXPECT_THAT(snapshot_.Var("root").Get(round).AsStr(), StatusIs(kOutOfRange));
}

TEST_P(SnapshotTest, ErrorsSayWhatWouldHaveWorked) {
  EXPECT_THAT(snapshot_.Map("mini.bs").At(3).Get("y").AsU64(),
              StatusIs(kNotFound, AllOf(HasSubstr("jiffies_64#7: Map(\"mini.bs\")"),
                                        HasSubstr("did you mean 'mini.bss'"),
                                        HasSubstr("counters"))));
  EXPECT_THAT(snapshot_.Map("counters").Find(10).AsU64(),
              StatusIs(kNotFound, AllOf(HasSubstr("Find(10)"), HasSubstr("their keys are: 7, 9, 8"))));
  EXPECT_THAT(snapshot_.Map("counters").At(3).AsU64(),
              StatusIs(kOutOfRange, HasSubstr("At(0) to At(2)")));
  EXPECT_THAT(snapshot_.Map("counters").Get("hits").AsU64(),
              StatusIs(kInvalidArgument, HasSubstr("choose one by At, Find or MaxBy")));
  EXPECT_THAT(snapshot_.Map("mini.bss").Get("stats.mn").AsI64(),
              StatusIs(kNotFound, HasSubstr("did you mean 'min' or 'on'? its members are: min, on, ratio")));
  EXPECT_THAT(snapshot_.Map("mini.bss").Get("nr_enqueued.x").AsI64(),
              StatusIs(kNotFound, HasSubstr("is 3 and has no member 'x'")));
  EXPECT_THAT(snapshot_.Get("vcpus.task").AsStr(),
              StatusIs(kNotFound, HasSubstr("take one by [0] to [1]")));
  EXPECT_THAT(snapshot_.Var("shared").AsU64(),
              StatusIs(kInvalidArgument,
                       HasSubstr("Var(\"mini.bss.shared\"), Var(\"other.bss.shared\")")));
  EXPECT_THAT(snapshot_.Get("a..b").AsU64(), StatusIs(kInvalidArgument, HasSubstr("byte 2")));
  EXPECT_THAT(snapshot_.Get("a..b").Get("c").Cpu(1).AsStr(), StatusIs(kInvalidArgument));
}

TEST_P(SnapshotTest, WrongTypesNameTheRightRead) {
  EXPECT_THAT(snapshot_.Var("stats").Get("mode").AsU64(),
              StatusIs(kInvalidArgument, AllOf(HasSubstr("is \"FAST\""), HasSubstr("by AsStr"))));
  EXPECT_THAT(snapshot_.Var("stats").Get("min").AsU64(),
              StatusIs(kOutOfRange, HasSubstr("is -5, which AsU64 cannot hold; AsI64 can")));
  EXPECT_THAT(snapshot_.Var("big").AsI64(), StatusIs(kOutOfRange, HasSubstr("AsU64 can")));
  EXPECT_THAT(snapshot_.Var("stats").AsU64(),
              StatusIs(kInvalidArgument, HasSubstr("take a member by Get: min, on, ratio, mode")));
  EXPECT_THAT(snapshot_.Var("nr_enqueued").AsBool(), StatusIs(kInvalidArgument));
  EXPECT_THAT(snapshot_.Var("nr_enqueued").AsStr(),
              StatusIs(kInvalidArgument, HasSubstr("AsU64 or AsI64")));
  EXPECT_THAT(snapshot_.Var("list").AsU64(), StatusIs(kInvalidArgument, HasSubstr("Get(\"[0]\")")));
  EXPECT_THAT(snapshot_.Var("nr_enqueued").Items(), StatusIs(kInvalidArgument));
}

TEST_P(SnapshotTest, WhatWasCutOrLostIsNeverReadAsIfItWereWhole) {
  EXPECT_THAT(snapshot_.Map("cut").Find("a").AsU64(), IsOkAndHolds(1u));
  EXPECT_THAT(snapshot_.Map("cut").Find("b").AsU64(),
              StatusIs(kDataLoss, HasSubstr("1 of 3 entries were captured")));
  EXPECT_THAT(snapshot_.Map("cut").At(1).AsU64(), StatusIs(kDataLoss, HasSubstr("the limit is 1")));
  EXPECT_THAT(snapshot_.Map("cut").Count(), StatusIs(kDataLoss, HasSubstr("Captured()")));
  EXPECT_THAT(snapshot_.Map("cut").MaxBy("").AsU64(), StatusIs(kDataLoss));
  EXPECT_THAT(snapshot_.Map("cut").Captured().MaxBy("").AsU64(), IsOkAndHolds(1u));
  EXPECT_THAT(snapshot_.Map("cut").Captured().Count(), IsOkAndHolds(1u));
  EXPECT_THAT(snapshot_.Map("tasks").MaxBy("runtime").Key().AsU64(),
              StatusIs(kDataLoss, HasSubstr("its bytes were not copied")));
  EXPECT_THAT(snapshot_.Map("tasks").Captured().MaxBy("runtime").Key().AsU64(), IsOkAndHolds(2u));
  EXPECT_THAT(snapshot_.Map("tasks").Filter([](const auto& e) { return e.Get("runtime").Is(5); })
                  .Count(),
              StatusIs(kDataLoss));
  EXPECT_THAT(snapshot_.Map("tasks").At(2).Get("runtime").AsU64(), StatusIs(kDataLoss));
  EXPECT_THAT(snapshot_.Map("lost.bss").Get("x").AsU64(),
              StatusIs(kDataLoss, HasSubstr("its page was not copied")));
  EXPECT_THAT(snapshot_.Var("unheard_of").AsU64(), StatusIs(kDataLoss, HasSubstr("lost.bss")));
  EXPECT_THAT(snapshot_.Get("vcpus[1].task.comm").AsStr(),
              StatusIs(kDataLoss, HasSubstr("vcpus[1].task: the task was freed")));
  EXPECT_THAT(snapshot_.Get("trigger.old").AsU64(),
              StatusIs(kDataLoss, HasSubstr("the watched bytes could not be read")));
  EXPECT_THAT(snapshot_.KernelVar("message").AsStr(),
              StatusIs(kDataLoss, AllOf(HasSubstr("only in part"), HasSubstr("4 bytes"))));
  EXPECT_THAT(snapshot_.KernelVar("message").Captured().AsStr(), IsOkAndHolds("abcd"));
  EXPECT_THAT(snapshot_.KernelVar("percpu").Cpu(1).Get("name").AsStr(),
              StatusIs(kDataLoss, HasSubstr("was not copied")));
}

TEST_P(SnapshotTest, AWrongQuestionIsOneThoughSomethingElseIsDegraded) {
  Report report = Sample();
  report.degraded.clear();
  report.trigger.slot.reset();
  const Snapshot whole = Take(report);
  EXPECT_THAT(whole.Var("unheard_of").AsU64(), StatusIs(kNotFound, HasSubstr("nr_enqueued")));
  EXPECT_THAT(whole.Get("vcpus[1].task.comm").AsStr(), StatusIs(kNotFound));
  EXPECT_THAT(whole.Get("trigger.slot").AsU64(), StatusIs(kNotFound, HasSubstr("is null")));
  EXPECT_THAT(whole.Map("cut").Count(), StatusIs(kDataLoss, HasSubstr("1 of 3")));
}

TEST_P(SnapshotTest, HandlesOutliveTheSnapshot) {
  SnapshotEntry entry = Take().Map("counters").At(0);
  EXPECT_THAT(entry.Get("hits").AsU64(), IsOkAndHolds(70u));
}

INSTANTIATE_TEST_SUITE_P(LiveAndSidecar, SnapshotTest,
                         ::testing::Values(From::kLive, From::kSidecar),
                         [](const auto& from) {
                           return std::string(from.param == From::kLive ? "Live" : "Sidecar");
                         });

TEST(SnapshotErrorTest, WhatIsNoCaptureIsTheErrorOfEveryRead) {
  const Snapshot snapshot = Snapshot::FromJson("{oops");
  EXPECT_THAT(snapshot.status(), StatusIs(kInvalidArgument));
  EXPECT_THAT(snapshot.Map("x").At(0).Get("y").AsU64(),
              StatusIs(kInvalidArgument, HasSubstr("oops")));
  EXPECT_THAT(snapshot.Var("x").AsU64(), StatusIs(kInvalidArgument));
  EXPECT_THAT(snapshot.KernelVar("x").Cpu(0).AsStr(), StatusIs(kInvalidArgument));
  EXPECT_TRUE(snapshot.MapNames().empty());
}

TEST(SnapshotErrorTest, ACaptureWithoutPartsSaysSo) {
  const Snapshot snapshot(SmallReport());
  EXPECT_THAT(snapshot.Map("x").Get("y").AsU64(),
              StatusIs(kNotFound, HasSubstr("holds no BPF maps")));
  EXPECT_THAT(snapshot.KernelVar("x").AsU64(), StatusIs(kNotFound, HasSubstr("none")));
}

}  // namespace
}  // namespace watchsnap
