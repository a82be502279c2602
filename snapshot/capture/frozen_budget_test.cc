#include "snapshot/capture/frozen_budget.h"

#include <vector>

#include "gtest/gtest.h"

namespace watchsnap {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(FrozenBudgetTest, AllowsUpToItsShareOfASecondAndRecovers) {
  FrozenBudget budget(100);
  int64_t now = 5'000 * kMs;
  int allowed = 0;
  while (budget.Allows(now)) {
    budget.Spend(now, kMs);
    ++allowed;
    now += 2 * kMs;
  }
  EXPECT_EQ(allowed, 100);
  EXPECT_FALSE(budget.Allows(now + 500 * kMs));
  EXPECT_TRUE(budget.Allows(now + 1000 * kMs));
}

TEST(FrozenBudgetTest, OverAnySecondOfALongStormTheShareHolds) {
  FrozenBudget budget(100);
  std::vector<int64_t> pauses(10'000, 0);  // by millisecond
  for (int64_t ms = 0; ms < 10'000; ++ms) {
    if (!budget.Allows(ms * kMs)) continue;
    budget.Spend(ms * kMs, kMs / 2);
    pauses[ms] = kMs / 2;
  }
  int64_t window = 0;
  int64_t total = 0;
  for (int64_t ms = 0; ms < 10'000; ++ms) {
    window += pauses[ms];
    total += pauses[ms];
    if (ms >= 950) window -= pauses[ms - 950];
    EXPECT_LE(window, 100 * kMs) << "at " << ms << " ms";
  }
  EXPECT_GT(total, 900 * kMs) << "the allowance is hardly used";
}

TEST(FrozenBudgetTest, AThousandPermilleIsNoLimit) {
  FrozenBudget budget(1000);
  budget.Spend(0, 10'000 * kMs);
  EXPECT_TRUE(budget.Allows(0));
}

}  // namespace
}  // namespace watchsnap
