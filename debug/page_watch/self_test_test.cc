#include "debug/page_watch/self_test.h"

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Any KVM that has read-only memslots can do this.
TEST(PageWatchSelfTest, OneVcpuWorksHere) {
  EXPECT_THAT(RunPageWatchSelfTest(PageWay::kReadOnlyMemslots), IsOk());
  EXPECT_THAT(PageWatchWorksHere(PageWay::kReadOnlyMemslots), IsOk());
}

TEST(PageWatchSelfTest, SeveralVcpusWorkHereOrTheMessageSaysWhyNotAndWhatElseThereIs) {
  const absl::Status status = PageWatchWorksHere(PageWay::kHostProtection);
  EXPECT_EQ(status, PageWatchWorksHere(PageWay::kHostProtection));
  if (status.ok()) return;
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("several vCPUs"), HasSubstr("not atomic"),
                             HasSubstr("nothing is armed"), HasSubstr("one vCPU"),
                             HasSubstr("hw_watch"), HasSubstr("--host emulated"))));
}

TEST(PageWatchSelfTest, NoKvmIsNoVerdict) {
  const absl::Status status =
      RunPageWatchSelfTest(PageWay::kReadOnlyMemslots, "/nonexistent/kvm");
  EXPECT_THAT(status, StatusIs(testing::Not(absl::StatusCode::kFailedPrecondition),
                               HasSubstr("/nonexistent/kvm")));
}

}  // namespace
}  // namespace watchsnap
