// Three watches at once, each with its own slot and address, and all three still there after a
// fourth was refused.
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"
#include "testing/scenarios/guest_kernel.h"

namespace watchsnap {
namespace {

using ::testing::Contains;
using ::testing::Eq;
using ::testing::Ge;

// Quiet counters that user space can make the kernel write: the first two by making processes, the
// third through its file.
constexpr const char* kSymbols[] = {"total_forks", "nr_threads", "vm_swappiness"};
constexpr char kSwappinessFile[] = "/proc/sys/vm/swappiness";

Op Stir(std::string swappiness) {
  return Op::Run("stir", [swappiness](ScenarioContext&) {
    absl::Status status = MakeProcesses(5);
    return status.ok() ? WriteGuestFile(kSwappinessFile, swappiness) : status;
  });
}

WATCH_SCENARIO(ThreeWatches) {
  const WatchOptions all = WatchOptions::Unlimited();
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx,
      {Step{.ops = {Op::WatchSnapshot("total_forks", all), Op::WatchSnapshot("nr_threads", all),
                    Op::WatchSnapshot("vm_swappiness", all), Stir("41")}}});
  if (!result.ok() || !result->passed) return result;

  absl::StatusOr<AssertResult> fourth =
      ExecuteSteps(ctx, {Step{.ops = {Op::WatchSnapshot("panic_timeout")}}});
  if (!fourth.ok()) return fourth;
  result->Merge(ExpectFailure(*fourth,
                              "Op::WatchSnapshot cap exceeded: scenario already registered 3 "
                              "watchpoints (3 user watchpoint slots occupied; "
                              "slot 0 reserved for the error-class exit_kind trigger)"));

  absl::StatusOr<AssertResult> after = ExecuteSteps(ctx, {Step{.ops = {Stir("42")}}});
  if (!after.ok()) return after;
  result->Merge(*after);
  for (const char* symbol : kSymbols) {
    absl::StatusOr<uint64_t> address = AddressInGuest(symbol);
    if (!address.ok()) return address.status();
    result->AddNote(absl::StrCat(symbol, "=0x", absl::Hex(*address)));
  }
  return result;
}

POST_VM(ThreeWatches) {
  std::set<int> slots;
  for (const char* symbol : kSymbols) {
    SCOPED_TRACE(symbol);
    ExpectEveryHitCaptured(result, symbol);
    ExpectSidecarAgrees(result, symbol);
    const std::vector<Report> hits = HitsOf(result, symbol);
    ASSERT_FALSE(hits.empty());
    ExpectChain(hits);
    const uint64_t address = HexNoteOf(result, symbol);
    const int slot = hits[0].trigger.slot.value_or(-1);
    EXPECT_TRUE(slot >= 1 && slot <= 3) << slot;
    slots.insert(slot);
    for (const Report& hit : hits) {
      ASSERT_EQ(hit.trigger.symbol, symbol);
      ASSERT_EQ(hit.trigger.address, address);
      ASSERT_EQ(hit.trigger.slot, slot);
    }
  }
  EXPECT_EQ(slots.size(), 3u) << "two watches share a slot";
  EXPECT_FALSE(result.watches.contains("panic_timeout"));

  // Five processes before the refusal and five after it.
  const std::vector<Report> forks = HitsOf(result, "total_forks");
  EXPECT_THAT(forks.size(), Ge(10u));
  ExpectChain(forks, 1);
  EXPECT_THAT(WritersOf(forks), Contains(Eq("copy_process")));
  std::vector<uint64_t> swappiness;
  for (const Report& hit : HitsOf(result, "vm_swappiness")) {
    swappiness.push_back(hit.trigger.new_value.value_or(0));
  }
  EXPECT_THAT(swappiness, ::testing::ElementsAre(41, 42))
      << "the second was written after the refusal";
}

}  // namespace
}  // namespace watchsnap
