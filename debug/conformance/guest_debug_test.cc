// The guest's own use of the processor's debug facilities, with and without a watch of ours.
#include <iostream>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "debug/conformance/harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/bare_guest/tracing_guest.h"

namespace watchsnap::conformance {
namespace {

using ::absl_testing::IsOk;

struct Seen {
  uint64_t count = 0, step_dr6 = 0, icebp_dr6 = 0, read_back = 0;
};

// False where this KVM cannot run such a guest at all.
bool RunTracingGuest(bool watched, bool icebp, Seen& seen) {
  const TracingGuest guest(icebp);
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, TheSubject().vcpus, &recorder);
  if (setup == nullptr) return false;
  guest.InstallHandler(setup->machine());
  if (watched) {
    EXPECT_THAT(setup->device().Arm({.address = guest.word, .length = 4, .tag = "word"}), IsOk());
  }
  EXPECT_THAT(setup->machine().Start(), IsOk());
  const RunEnd end = setup->machine().Wait(absl::Now() + absl::Minutes(1));
  setup->machine().Stop();
  if (end.kind != RunEndKind::kPowerOff) {
    std::cout << "the guest did not get to its end: " << end.detail << "\n";
    return false;
  }
  EXPECT_EQ(recorder.count(), watched ? 1u : 0u);
  for (const WatchHit& hit : recorder.hits()) EXPECT_EQ(hit.next_pc, guest.after_store);
  constexpr uint64_t kReasons = 0xe00f;  // BT, BS, BD and the four slots
  seen = {.count = setup->Word(guest.count),
          .step_dr6 = setup->Word(guest.step_dr6) & kReasons,
          .icebp_dr6 = setup->Word(guest.icebp_dr6) & kReasons,
          .read_back = setup->Word(guest.read_back)};
  return true;
}

// What the host does for a guest that nobody watches is the measure.
TEST(GuestDebug, TheGuestsOwnDebugExceptionsAreThoseOfAGuestThatIsNotWatched) {
  Seen unwatched, watched;
  bool icebp = true;
  if (!RunTracingGuest(false, icebp, unwatched)) {
    icebp = false;  // a software KVM may not know it
    ASSERT_TRUE(RunTracingGuest(false, icebp, unwatched));
  }
  EXPECT_EQ(unwatched.read_back, TracingGuest::kDr3);
  EXPECT_GE(unwatched.count, 1u) << "the guest's own trace works without a watch";
  ASSERT_TRUE(RunTracingGuest(true, icebp, watched));
  EXPECT_EQ(watched.count, unwatched.count) << "exceptions that the guest's handler saw";
  EXPECT_EQ(watched.step_dr6, unwatched.step_dr6);
  EXPECT_EQ(watched.icebp_dr6, unwatched.icebp_dr6);
  EXPECT_EQ(watched.read_back, unwatched.read_back) << "DR3, as the guest set it";
}

}  // namespace
}  // namespace watchsnap::conformance
