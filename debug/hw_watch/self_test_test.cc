#include "debug/hw_watch/self_test.h"

#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

SelfTestResult Result(std::vector<SelfTestSlot> slots) {
  return {.slots = std::move(slots), .took = {}};
}

TEST(SelfTestTest, RunsOnThisMachineAndJudgesEverySlot) {
  const absl::Time began = absl::Now();
  absl::StatusOr<SelfTestResult> result = RunHwWatchSelfTest();
  ASSERT_THAT(result, IsOk());
  EXPECT_LT(absl::Now() - began, absl::Seconds(10));
  ASSERT_EQ(result->slots.size(), 4u);
  for (const SelfTestSlot& slot : result->slots) {
    EXPECT_THAT(slot.outcome, testing::AnyOf(SlotOutcome::kDelivers, SlotOutcome::kNeverDelivers))
        << result->Summary();
  }
  EXPECT_EQ(HwWatchDeliversHere().ok(), result->AllDeliver());
  EXPECT_EQ(HwWatchDeliversHere(), HwWatchDeliversHere());
}

TEST(SelfTestTest, NoKvmIsAnErrorNotAResult) {
  EXPECT_THAT(RunHwWatchSelfTest("/nonexistent/kvm"),
              StatusIs(testing::_, HasSubstr("/nonexistent/kvm")));
}

TEST(SelfTestTest, TheMessageSaysWhichSlotsDoWhatAndWhatElseThereIs) {
  const SelfTestResult result = Result({{SlotOutcome::kDelivers, ""},
                                        {SlotOutcome::kNeverDelivers, ""},
                                        {SlotOutcome::kRefuses, "EINVAL"},
                                        {SlotOutcome::kNeverDelivers, ""}});
  EXPECT_FALSE(result.AllDeliver());
  EXPECT_EQ(result.Summary(),
            "slot 0: delivers; slot 1, 3: accepts a watch and never delivers a hit; "
            "slot 2: refuses a watch (EINVAL)");
  EXPECT_THAT(
      DeliveryStatus(result, {"hw_watch", "page_watch"}),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("never delivers"), HasSubstr("the debug plugin page_watch, "),
                     HasSubstr("--host emulated"), Not(HasSubstr("plugin hw_watch")))));
}

TEST(SelfTestTest, AllMustDeliver) {
  EXPECT_THAT(DeliveryStatus(Result({{SlotOutcome::kDelivers, ""}}), {}), IsOk());
  EXPECT_FALSE(Result({}).AllDeliver()) << "nothing tried is nothing proved";
}

}  // namespace
}  // namespace watchsnap
