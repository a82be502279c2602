#include "debug/gdb_server/guest_debug_composer.h"

#include "absl/status/status_matchers.h"
#include "debug/debug_target_fake.h"
#include "debug/hw_watch/hw_watch.h"
#include "debug/hw_watch/x86_64/debug_registers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::gdb {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr uint32_t kWatching = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
constexpr uint64_t kData = 0xffffffff82000000;
constexpr uint64_t kCode = 0xffffffff81000000;

class GuestDebugComposerTest : public ::testing::Test {
 protected:
  GuestDebugComposerTest() { target_.Map(kData, 4096); }
  absl::StatusOr<WatchId> Watch(int word) {
    return hw_watch_.Arm({.address = kData + 8ull * word, .length = 8, .tag = "word"});
  }
  uint64_t Register(int vcpu, int index) { return target_.guest_debug(vcpu).arch.debugreg[index]; }
  absl::Status Step(int vcpu, bool on) {
    return composer_.RunOnVcpu(vcpu, [&] { return composer_.SetStep(vcpu, on); });
  }

  DebugTargetFake target_{2};
  GuestDebugComposer composer_{&target_, /*can_block_interrupts=*/true};
  HwWatch hw_watch_{composer_, [] { return absl::OkStatus(); }};
};

TEST_F(GuestDebugComposerTest, WithoutADebuggerAPluginGetsExactlyWhatItSets) {
  ASSERT_THAT(Watch(0), IsOk());
  const kvm_guest_debug expected = x86_64::GuestDebugFor({{{}, {kData, 8}}});
  for (int vcpu : {0, 1}) {
    EXPECT_EQ(target_.guest_debug(vcpu).control, expected.control);
    EXPECT_EQ(Register(vcpu, 1), kData);
    EXPECT_EQ(Register(vcpu, 7), expected.arch.debugreg[7]);
  }
}

TEST_F(GuestDebugComposerTest, BreakpointsTakeTheRegistersThatWatchesLeave) {
  absl::StatusOr<WatchId> watch = Watch(0);
  ASSERT_THAT(watch, IsOk());
  EXPECT_THAT(composer_.AddBreakpoint(kCode), IsOk());
  EXPECT_THAT(composer_.AddBreakpoint(kCode + 16), IsOk());
  for (int vcpu : {0, 1}) {
    EXPECT_EQ(Register(vcpu, 1), kData);
    EXPECT_EQ(Register(vcpu, 2), kCode + 16);
    EXPECT_EQ(Register(vcpu, 3), kCode);
    EXPECT_EQ(composer_.BreakpointSlots(vcpu), 0b1100u);
    // Enabled; R/W and LEN of slots 2 and 3 are 0: on execution.
    EXPECT_EQ(Register(vcpu, 7) & 0xff, 0b11111100u);
    EXPECT_EQ(Register(vcpu, 7) >> 24, 0u);
  }
  EXPECT_THAT(composer_.AddBreakpoint(kCode + 32),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("reserved")));
  EXPECT_EQ(Register(0, 2), kCode + 16) << "and nothing was overwritten";
  EXPECT_THAT(composer_.AddBreakpoint(kCode), StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_THAT(hw_watch_.Disarm(*watch), IsOk());
  EXPECT_THAT(composer_.AddBreakpoint(kCode + 32), IsOk());
  EXPECT_EQ(composer_.BreakpointSlots(1), 0b1110u);
}

TEST_F(GuestDebugComposerTest, AWatchThatABreakpointLeavesNoRegisterForIsRefusedWhole) {
  ASSERT_THAT(Watch(0), IsOk());
  ASSERT_THAT(Watch(1), IsOk());
  ASSERT_THAT(composer_.AddBreakpoint(kCode), IsOk());
  EXPECT_THAT(Watch(2), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("breakpoint")));
  for (int vcpu : {0, 1}) EXPECT_EQ(Register(vcpu, 3), kCode);
  ASSERT_THAT(composer_.RemoveBreakpoint(kCode), IsOk());
  EXPECT_THAT(composer_.RemoveBreakpoint(kCode), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Watch(2), IsOk());
  EXPECT_EQ(Register(1, 3), kData + 16);
}

TEST_F(GuestDebugComposerTest, ABreakpointMovesForAWatchThatWantsItsRegister) {
  ASSERT_THAT(Watch(0), IsOk());
  absl::StatusOr<WatchId> second = Watch(1);
  ASSERT_THAT(second, IsOk());
  absl::StatusOr<WatchId> third = Watch(2);
  ASSERT_THAT(third, IsOk());
  ASSERT_THAT(hw_watch_.Disarm(*second), IsOk());
  ASSERT_THAT(composer_.AddBreakpoint(kCode), IsOk());
  EXPECT_EQ(Register(0, 2), kCode) << "the only one free";
  ASSERT_THAT(hw_watch_.Disarm(*third), IsOk());
  ASSERT_THAT(Watch(3), IsOk());
  EXPECT_EQ(Register(0, 2), kData + 24);
  EXPECT_EQ(Register(0, 3), kCode);
  EXPECT_EQ(composer_.BreakpointSlots(0), 0b1000u);
}

TEST_F(GuestDebugComposerTest, TheReservedRegisterIsNeverABreakpoints) {
  for (int i = 0; i < 3; ++i) ASSERT_THAT(composer_.AddBreakpoint(kCode + i), IsOk());
  ASSERT_THAT(hw_watch_.Arm({.address = kData, .length = 4, .tag = "scx_root", .reserved_slot = true}),
              IsOk());
  EXPECT_EQ(Register(0, 0), kData);
  EXPECT_EQ(composer_.BreakpointSlots(0), 0b1110u);
}

TEST_F(GuestDebugComposerTest, AStepIsOneVcpusAndKeepsTheWatches) {
  ASSERT_THAT(Watch(0), IsOk());
  ASSERT_THAT(Step(1, true), IsOk());
  EXPECT_EQ(target_.guest_debug(0).control, kWatching);
  EXPECT_EQ(target_.guest_debug(1).control, kWatching | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ);
  EXPECT_EQ(Register(1, 1), kData);
  EXPECT_TRUE(composer_.stepping(1));
  ASSERT_THAT(Watch(1), IsOk());  // armed meanwhile: the step goes on
  EXPECT_NE(target_.guest_debug(1).control & KVM_GUESTDBG_SINGLESTEP, 0u);
  ASSERT_THAT(Step(1, false), IsOk());
  EXPECT_EQ(target_.guest_debug(1).control, kWatching);
}

TEST_F(GuestDebugComposerTest, AnInjectionHappensOnce) {
  ASSERT_THAT(composer_.InterceptBreakpointInstructions(true), IsOk());
  target_.OnVcpuThread(0, [&] {
    kvm_guest_debug debug = {};
    debug.control = KVM_GUESTDBG_INJECT_BP;
    ASSERT_THAT(composer_.SetGuestDebug(0, debug), IsOk());
  });
  EXPECT_EQ(target_.guest_debug(0).control,
            uint32_t{KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_INJECT_BP});
  ASSERT_THAT(Step(0, true), IsOk());
  EXPECT_EQ(target_.guest_debug(0).control & KVM_GUESTDBG_INJECT_BP, 0u);
  ASSERT_THAT(Step(0, false), IsOk());
  ASSERT_THAT(composer_.InterceptBreakpointInstructions(false), IsOk());
  EXPECT_EQ(target_.guest_debug(0).control, 0u);
}

TEST_F(GuestDebugComposerTest, AVcpuThatRefusesLeavesAllAsTheyWere) {
  ASSERT_THAT(Watch(0), IsOk());
  target_.FailNextSetGuestDebug(1, absl::InternalError("EINVAL"));
  EXPECT_THAT(composer_.AddBreakpoint(kCode), StatusIs(absl::StatusCode::kInternal, HasSubstr("vCPU 1")));
  for (int vcpu : {0, 1}) EXPECT_EQ(Register(vcpu, 3), 0u);
  EXPECT_EQ(composer_.BreakpointSlots(0), 0u);
  EXPECT_EQ(Register(0, 1), kData);
  target_.FailNextFreeze(absl::DeadlineExceededError("stuck"));
  EXPECT_THAT(composer_.AddBreakpoint(kCode), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(composer_.AddBreakpoint(kCode), IsOk());
}

}  // namespace
}  // namespace watchsnap::gdb
