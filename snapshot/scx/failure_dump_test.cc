// A dump is the report of the error, completed by that of the end, whole in its file.
#include "snapshot/scx/failure_dump.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/report/report_parse.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Report With(uint64_t new_value, std::string scx) {
  Report report;
  report.tag = "exit_kind";
  report.trigger.kind = TriggerKind::kExitKind;
  report.trigger.new_value = new_value;
  SetMember(report.more, "scx", std::move(scx));
  return report;
}

class FailureDumpTest : public ::testing::Test {
 protected:
  std::string dir_ = std::string(::testing::TempDir()) + "/dumps";
  std::vector<Report> kept_;
  FailureDumps dumps_{dir_, "a test", [this](const Report& report) { kept_.push_back(report); }};

  void TearDown() override { std::filesystem::remove_all(dir_); }
  static std::string Contents(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
};

TEST_F(FailureDumpTest, OneForEachSchedulerWithTheKernelsLastWord) {
  for (const char* message : {"first", "second"}) {
    ASSERT_THAT(dumps_.OnExitKind(With(1025, R"({"state":"enabled","exit":{"msg":""},"cpus":[1]})"),
                                  true, false),
                IsOk());
    ASSERT_THAT(
        dumps_.OnExitKind(
            With(1, R"({"state":"disabling","exit":{"msg":")" + std::string(message) + R"("}})"),
            false, true),
        IsOk());
  }
  EXPECT_THAT(dumps_.paths(),
              ElementsAre(EndsWith("/a%20test.failure-dump.json"),
                          EndsWith("/a%20test.failure-dump.2.json")));
  const auto first = ParseReport(Contents(dumps_.paths()[0]));
  ASSERT_THAT(first.status(), IsOk());
  EXPECT_EQ(*FindMember(first->more, "scx"),
            R"({"state":"enabled","exit":{"msg":"first"},"cpus":[1]})");
  EXPECT_EQ(first->trigger.new_value, 1025u);
  EXPECT_THAT(first->degraded, IsEmpty());
  ASSERT_EQ(kept_.size(), 2u);
  EXPECT_THAT(*FindMember(kept_[1].more, "scx"), HasSubstr("second"));
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    EXPECT_THAT(entry.path().string(), Not(EndsWith(".tmp")));
  }
}

TEST_F(FailureDumpTest, ARunThatEndsTooEarlyLeavesADegradedDump) {
  ASSERT_THAT(dumps_.OnExitKind(With(1025, R"({"state":"enabled"})"), true, false), IsOk());
  EXPECT_THAT(dumps_.paths(), IsEmpty());
  ASSERT_THAT(dumps_.Finish("the run ended"), IsOk());
  ASSERT_EQ(kept_.size(), 1u);
  ASSERT_EQ(kept_[0].degraded.size(), 1u);
  EXPECT_THAT(kept_[0].degraded[0].why, HasSubstr("SCX_EXIT_DONE"));
  EXPECT_EQ(dumps_.paths().size(), 1u);
  ASSERT_THAT(dumps_.Finish("the run ended"), IsOk());
  EXPECT_EQ(kept_.size(), 1u);
}

TEST_F(FailureDumpTest, AnEndWithoutAnErrorIsNoDumpAndOldOnesAreRemoved) {
  ASSERT_THAT(dumps_.OnExitKind(With(1025, "{}"), true, false), IsOk());
  ASSERT_THAT(dumps_.Finish("the run ended"), IsOk());
  ASSERT_TRUE(std::filesystem::exists(dir_ + "/a%20test.failure-dump.json"));
  FailureDumps next(dir_, "a test", nullptr);
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/a%20test.failure-dump.json"));
  ASSERT_THAT(next.OnExitKind(With(1, "{}"), false, true), IsOk());
  ASSERT_THAT(next.Finish("the run ended"), IsOk());
  EXPECT_THAT(next.paths(), IsEmpty());
}

TEST_F(FailureDumpTest, AFolderThatCannotBeWrittenIsAnError) {
  FailureDumps nowhere("/proc/none", "x", nullptr);
  ASSERT_THAT(nowhere.OnExitKind(With(1025, "{}"), true, false), IsOk());
  EXPECT_THAT(nowhere.Finish("the run ended").message(), HasSubstr("/proc/none"));
}

TEST(WithExitOfTest, LeavesAloneWhatItCannotRead) {
  EXPECT_EQ(WithExitOf("nonsense", R"({"exit":1})"), "nonsense");
  EXPECT_EQ(WithExitOf(R"({"a":1})", "[]"), R"({"a":1})");
  EXPECT_EQ(WithExitOf(R"({"a":1})", R"({"exit":{"msg":"x"}})"), R"({"a":1,"exit":{"msg":"x"}})");
}

}  // namespace
}  // namespace watchsnap
