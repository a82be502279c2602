// jiffies_64, which the kernel writes at each tick: every write is a hit, every hit a capture, none
// is missing in between.
//
// Built several times (see BUILD.bazel): WATCHSNAP_EXPECT_KASLR says whether the kernel was moved,
// WATCHSNAP_EXACT_STEPS whether the guest's clock is set up to count ticks one by one.
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"
#include "testing/scenarios/guest_kernel.h"

namespace watchsnap {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// What a linked kernel's addresses are multiples of, and so its slide (CONFIG_PHYSICAL_ALIGN).
constexpr uint64_t kSlideUnit = 2 << 20;

// Enough for 500 hits: not every timer interrupt is a tick, and another CPU may count some ticks.
constexpr uint64_t kTicks = 1000;

WATCH_SCENARIO(Jiffies) {
  absl::StatusOr<uint64_t> address = AddressInGuest("jiffies_64");
  if (!address.ok()) return address.status();
  absl::StatusOr<AssertResult> result =
      ExecuteSteps(ctx, {Step{.setup = {CgroupDef::Named("busy").Workers(1)},
                              .ops = {Op::WatchSnapshot("jiffies_64", WatchOptions::Unlimited()),
                                      Op::Run("hold for some ticks", [](ScenarioContext&) {
                                        return AwaitTimerInterrupts(kTicks, absl::Seconds(50));
                                      })}}});
  if (result.ok()) result->AddNote(absl::StrCat("address=0x", absl::Hex(*address)));
  return result;
}

POST_VM(Jiffies) {
  const std::vector<Report> hits = HitsOf(result, "jiffies_64");
  EXPECT_GE(hits.size(), 500u);
  ExpectEveryHitCaptured(result, "jiffies_64");
  ExpectSidecarAgrees(result, "jiffies_64");
#if WATCHSNAP_EXACT_STEPS
  ExpectChain(hits, 1);
#else
  ExpectChain(hits);
#endif
  // The two functions of 7.3.4's disassembly that add to jiffies_64.
  EXPECT_THAT(WritersOf(hits), Each(AnyOf(Eq("tick_do_update_jiffies64"), Eq("do_timer"))));

  const uint64_t address = HexNoteOf(result, "address");
  uint64_t time = 0;
  size_t through_interrupts = 0;
  for (const Report& hit : hits) {
    ASSERT_EQ(hit.trigger.address, address) << "where the running kernel says that it is";
    ASSERT_EQ(hit.trigger.watched_bytes, 8u);
    ASSERT_TRUE(hit.trigger.guest_time_ns.has_value());
    ASSERT_GE(*hit.trigger.guest_time_ns, time)
        << "the guest's time ran backwards at capture " << hit.seq;
    time = *hit.trigger.guest_time_ns;
    ASSERT_TRUE(hit.trigger.writer.has_value() && hit.trigger.writer->address.has_value())
        << "the storing instruction was not found";
    ASSERT_FALSE(hit.vcpus.empty());
    EXPECT_THAT(hit.trigger.writer->file, StartsWith("kernel/time/"));
    EXPECT_GT(hit.trigger.writer->line.value_or(0), 0u);
    const std::string* stack = FindMember(hit.trigger.more, "stack");
    ASSERT_NE(stack, nullptr) << "capture " << hit.seq << " has no stack";
    EXPECT_THAT(*stack, HasSubstr(hit.trigger.writer->symbol));
    // A tick comes by the timer's interrupt, nearly always.
    through_interrupts += absl::StrContains(*stack, "\"asm_sysvec_apic_timer_interrupt\"");
  }
  EXPECT_GT(through_interrupts, hits.size() / 2);
#if WATCHSNAP_EXPECT_KASLR
  EXPECT_NE(result.kaslr_slide, 0u) << "the decompressor did not move the kernel";
  EXPECT_EQ(result.kaslr_slide % kSlideUnit, 0u);
#else
  EXPECT_EQ(result.kaslr_slide % kSlideUnit, 0u);
  EXPECT_EQ(result.kaslr_slide, 0u);
#endif
}

}  // namespace
}  // namespace watchsnap
