// Watches that must be refused, each in words that say why, and what a refusal leaves behind:
// nothing.
//
// Four programs are built of this (see BUILD.bazel): WATCHSNAP_SCENARIO chooses which.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"
#include "testing/scenarios/guest_kernel.h"

namespace watchsnap {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

[[maybe_unused]] Op MakeSomeProcesses() {
  return Op::Run("make processes", [](ScenarioContext&) { return MakeProcesses(3); });
}

// Tries to watch `symbol`; passes if that failed with `reason` in one detail.
absl::StatusOr<AssertResult> ExpectRefusal(ScenarioContext& ctx, const std::string& symbol,
                                           const std::string& reason) {
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx,
      {Step{.ops = {Op::WatchSnapshot(symbol), Op::Snapshot("never")}, .hold = HoldSpec::Full()}});
  if (!result.ok()) return result;
  return ExpectFailure(*result, reason);
}

[[maybe_unused]] void ExpectNothingOf(const VmResult& result, const char* symbol) {
  EXPECT_THAT(HitsOf(result, symbol), IsEmpty());
  EXPECT_FALSE(result.watches.contains(symbol)) << symbol << " was refused, but is counted";
}

#if WATCHSNAP_SCENARIO == 1

WATCH_SCENARIO(Typo) {
  absl::StatusOr<AssertResult> result =
      ExpectRefusal(ctx, "jiffies_46", "symbol 'jiffies_46' not found in vmlinux symtab");
  if (!result.ok()) return result;
  absl::StatusOr<AssertResult> good =
      ExecuteSteps(ctx, {Step{.ops = {Op::WatchSnapshot("total_forks"), MakeSomeProcesses()}}});
  if (!good.ok()) return good;
  result->Merge(*good);
  return result;
}

POST_VM(Typo) {
  ExpectNothingOf(result, "jiffies_46");
  EXPECT_THAT(HitsOf(result, "total_forks"), Not(IsEmpty())) << "the right name, after the typo";
  EXPECT_THAT(result.snapshot_bridge->ByTag("never"), IsEmpty())
      << "an op ran after the one that failed";
}

#elif WATCHSNAP_SCENARIO == 2

// One byte, at an odd address in every kernel looked at.
WATCH_SCENARIO(UnalignedSymbol) {
  return ExpectRefusal(ctx, "kexec_in_progress", "not 4-byte aligned");
}

POST_VM(UnalignedSymbol) { ExpectNothingOf(result, "kexec_in_progress"); }

#elif WATCHSNAP_SCENARIO == 3

constexpr const char* kGood[] = {"total_forks", "nr_threads", "panic_timeout"};

// More refusals than there are slots, of every kind that the symbol table can tell; then all three
// slots are filled.
WATCH_SCENARIO(FailedRegistrationFreesSlot) {
  const std::vector<std::pair<std::string, std::string> > bad = {
      {"jiffies_46", "not found in vmlinux symtab"},
      {"kexec_in_progress", "not 4-byte aligned"},
      {"do_timer", "function"},
      {"kstat", "per-CPU"},
      {"no_such_symbol", "not found in vmlinux symtab"},
  };
  AssertResult all;
  for (const auto& [symbol, reason] : bad) {
    absl::StatusOr<AssertResult> refused = ExpectRefusal(ctx, symbol, reason);
    if (!refused.ok()) return refused;
    all.Merge(*refused);
  }
  const WatchOptions every = WatchOptions::Unlimited();
  absl::StatusOr<AssertResult> good = ExecuteSteps(
      ctx, {Step{.ops = {Op::WatchSnapshot(kGood[0], every), Op::WatchSnapshot(kGood[1], every),
                         Op::WatchSnapshot(kGood[2], every), MakeSomeProcesses(),
                         Op::Run("set panic_timeout", [](ScenarioContext&) {
                           return WriteGuestFile("/proc/sys/kernel/panic", "17");
                         })}}});
  if (!good.ok()) return good;
  all.Merge(*good);
  return all;
}

POST_VM(FailedRegistrationFreesSlot) {
  EXPECT_EQ(result.watches.size(), 3u);
  for (const char* symbol : kGood) {
    SCOPED_TRACE(symbol);
    EXPECT_THAT(HitsOf(result, symbol), Not(IsEmpty()));
    ExpectEveryHitCaptured(result, symbol);
  }
  const std::vector<Report> timeouts = HitsOf(result, "panic_timeout");
  ASSERT_FALSE(timeouts.empty());
  EXPECT_EQ(timeouts.back().trigger.new_value, 17u);
}

#elif WATCHSNAP_SCENARIO == 4

// The vmlinux at hand has another build ID than the kernel that runs.
WATCH_SCENARIO(WrongBuild) {
  absl::StatusOr<std::string> running = BuildIdInGuest();
  if (!running.ok()) return running.status();
  return ExpectRefusal(ctx, "jiffies_64", *running);
}

POST_VM(WrongBuild) {
  ExpectNothingOf(result, "jiffies_64");
  // The note holds the whole refusal; the running kernel's ID is in it (the guest saw to that), and
  // the file's too.
  ASSERT_EQ(result.scenario->details.size(), 1u);
  const std::string& refusal = result.scenario->details[0];
  EXPECT_THAT(refusal, ::testing::ContainsRegex("[0-9a-f]{40}.*[0-9a-f]{40}"))
      << "both IDs are wanted";
}

#endif

}  // namespace
}  // namespace watchsnap
