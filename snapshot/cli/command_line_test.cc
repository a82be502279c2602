#include "snapshot/cli/command_line.h"

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::IsOkAndHolds;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

CommandLine Line() {
  return CommandLine("prog do", "Does things.", "FILE…",
                     {{"watch", "SYM", "a symbol"}, {"cpus", "N", "how many"}, {"json", "", "as JSON"}});
}

TEST(CommandLineTest, RepeatedOptionsSwitchesAndOperands) {
  CommandLine line = Line();
  ASSERT_THAT(line.Parse({"--watch", "a,b", "file", "--json", "--watch=c"}), IsOk());
  EXPECT_THAT(line.All("watch"), ElementsAre("a,b", "c"));
  EXPECT_EQ(line.Get("watch"), "c");
  EXPECT_TRUE(line.Has("json"));
  EXPECT_FALSE(line.Has("cpus"));
  EXPECT_THAT(line.operands(), ElementsAre("file"));
}

TEST(CommandLineTest, MistakesNameTheOption) {
  EXPECT_THAT(Line().Parse({"--wacht", "x"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'--wacht'")));
  EXPECT_THAT(Line().Parse({"--watch"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'--watch' needs a value")));
  EXPECT_THAT(Line().Parse({"--json=yes"}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CommandLineTest, NumbersAreBounded) {
  CommandLine line = Line();
  ASSERT_THAT(line.Parse({"--cpus", "9"}), IsOk());
  EXPECT_THAT(line.GetInt("cpus", 1, 1, 64), IsOkAndHolds(9));
  EXPECT_THAT(line.GetInt("cpus", 1, 1, 8),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("from 1 to 8, not '9'")));
  EXPECT_THAT(line.GetInt("absent", 7, 1, 8), IsOkAndHolds(7));
}

TEST(CommandLineTest, ParsingTwiceInAProcessStartsAfresh) {
  for (int i = 0; i < 2; ++i) {
    CommandLine line = Line();
    ASSERT_THAT(line.Parse({"--cpus", "2", "x"}), IsOk());
    EXPECT_THAT(line.operands(), ElementsAre("x"));
  }
}

TEST(CommandLineTest, HelpShowsEveryOption) {
  const std::string help = Line().Help();
  EXPECT_THAT(help, HasSubstr("--watch SYM"));
  EXPECT_THAT(help, HasSubstr("--help"));
  EXPECT_THAT(help, HasSubstr("Usage: prog do [OPTION…] FILE…"));
}

}  // namespace
}  // namespace watchsnap
