#include "testing/scenario/series.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/bridge/snapshot_bridge.h"

namespace watchsnap {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPath[] = "maps[\"fifo.bss\"].value.nr";

// A capture every half second; nullopt is a value that could not be captured.
std::vector<CaptureEntry> Captures(const std::vector<std::optional<std::string>>& values) {
  SnapshotBridge bridge;
  for (size_t i = 0; i < values.size(); ++i) {
    Report report;
    report.trigger.guest_time_ns = 500'000'000 * i;
    report.more = {{"maps", absl::StrCat("{\"fifo.bss\":{\"value\":{\"nr\":",
                                         values[i].value_or("null"), "}}}")}};
    if (!values[i].has_value()) report.degraded = {{kPath, "its page was not copied"}};
    bridge.Store("periodic", TriggerKind::kPeriodic, report);
  }
  return bridge.All();
}

Series Of(const std::vector<std::optional<std::string>>& values) {
  return Series(kPath, Captures(values));
}

template <typename M>
std::string Explained(const Series& series, const M& matcher) {
  ::testing::StringMatchResultListener listener;
  EXPECT_FALSE(::testing::ExplainMatchResult(matcher, series, &listener));
  return listener.str();
}

TEST(SeriesTest, SamplesAreReadByThePathWithTheirTime) {
  const Series series = Of({"1", "-2", "18446744073709551615", "2.5"});
  ASSERT_EQ(series.samples().size(), 4u);
  EXPECT_EQ(series.samples()[1].value, -2);
  EXPECT_EQ(series.samples()[1].seconds, 0.5);
  EXPECT_EQ(series.samples()[1].capture, "periodic#1");
  EXPECT_EQ(series.samples()[2].value, 18446744073709551615.0L);
  EXPECT_EQ(series.samples()[3].value, 2.5);
}

TEST(SeriesTest, ADegradedSampleIsSkippedAndCountedNeverZero) {
  const Series series = Of({"5", std::nullopt, "6", std::nullopt, "7"});
  EXPECT_EQ(series.samples().size(), 3u);
  EXPECT_EQ(series.skipped(), 2u);
  EXPECT_THAT(series.why_skipped()[0], HasSubstr("its page was not copied"));
  EXPECT_THAT(series, NonDecreasing());
  EXPECT_THAT(series, AlwaysTrue([](double value) { return value >= 5; }));
  EXPECT_THAT(series, RateWithin(1, 1));
  EXPECT_THAT(series.Summary(), HasSubstr("3 samples, 2 skipped"));
}

TEST(SeriesTest, AWrongPathPassesNothing) {
  const Series series("maps[\"fifo.bss\"].value.mr", Captures({"1", "2"}));
  EXPECT_FALSE(series.status().ok());
  EXPECT_THAT(Explained(series, NonDecreasing()), HasSubstr("did you mean 'nr'"));
  Explained(series, RateWithin(-1e9, 1e9));
  Explained(series, ConvergesTo(0, 1e9));
  Explained(series, AlwaysTrue([](double) { return true; }));
}

TEST(SeriesTest, TooFewSamplesPassNothing) {
  EXPECT_THAT(Explained(Of({}), AlwaysTrue([](double) { return true; })),
              HasSubstr("too few samples"));
  EXPECT_THAT(Explained(Of({"1", std::nullopt}), NonDecreasing()),
              AllOf(HasSubstr("at least 2"), HasSubstr("its page was not copied")));
  Explained(Of({"1"}), ConvergesTo(1, 1));
}

TEST(SeriesTest, NonDecreasingShowsWhereItDecreases) {
  EXPECT_THAT(Of({"1", "1", "3"}), NonDecreasing());
  EXPECT_THAT(Explained(Of({"1", "5", "3", "9"}), NonDecreasing()),
              AllOf(HasSubstr("1 place is wrong"),
                    HasSubstr("3 at 1.000000 s in periodic#2, after 5 at 0.500000 s")));
  // Apart by one at the end of 64 bits.
  EXPECT_THAT(Of({"18446744073709551615", "18446744073709551614"}), Not(NonDecreasing()));
}

TEST(SeriesTest, RatesAreOfGuestTime) {
  EXPECT_THAT(Of({"0", "50", "100"}), RateWithin(100, 100));
  EXPECT_THAT(Explained(Of({"0", "50", "250"}), RateWithin(90, 110)),
              AllOf(HasSubstr("400 per second"), HasSubstr("250 at 1.000000 s")));
  std::vector<CaptureEntry> captures = Captures({"1", "2"});
  captures[1].report.trigger.guest_time_ns = captures[0].report.trigger.guest_time_ns;
  EXPECT_THAT(Explained(Series(kPath, captures), RateWithin(0, 1e9)), HasSubstr("one instant"));
}

TEST(SeriesTest, ConvergingIsAboutTheEnd) {
  EXPECT_THAT(Of({"900", "500", "0", "103", "98", "101"}), ConvergesTo(100, 3));
  EXPECT_THAT(Explained(Of({"100", "100", "100", "100", "100", "140"}), ConvergesTo(100, 3)),
              HasSubstr("140 at 2.500000 s"));
  EXPECT_THAT(Of({"100", "0", "100"}), Not(ConvergesTo(100, 3)));
}

TEST(SeriesTest, AlwaysTrueShowsWhatIsNot) {
  EXPECT_THAT(Explained(Of({"1", "2", "3"}), AlwaysTrue([](double v) { return v != 2; })),
              HasSubstr("2 at 0.500000 s in periodic#1"));
}

TEST(SeriesTest, AnyReadOfTheAccessorMakesASeries) {
  const Series series("nr", Captures({"1", "2"}),
                      [](const Snapshot& snapshot) { return snapshot.Var("nr"); });
  EXPECT_THAT(series, NonDecreasing());
}

}  // namespace
}  // namespace watchsnap
