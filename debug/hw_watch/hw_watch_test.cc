// HwWatch against a fake machine: slots, attribution, what happens when a host refuses, and what is
// given back to the guest. Delivery by real processors is tested in hw_watch_delivery_test.cc.
#include "debug/hw_watch/hw_watch.h"

#include <string>

#include "absl/status/status_matchers.h"
#include "debug/debug_target_fake.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Change = DebugTargetFake::Change;

constexpr uint64_t kBase = 0xffffffff82000000;
// DR7 of one write watch of 4 bytes in slot 1, as seen in an exit of a real one (with bit 10).
constexpr uint64_t kDr7Slot1FourBytes = 0xd0040c;
constexpr uint32_t kDb = 1;
constexpr uint32_t kBp = 3;

kvm_debug_exit_arch Exit(uint64_t dr6, uint64_t pc = 0xffffffff81000100, uint32_t exception = kDb) {
  return {.exception = exception, .pad = 0, .pc = pc, .dr6 = dr6 | 0xffff0ff0, .dr7 = 0};
}

class HwWatchTest : public ::testing::Test {
 protected:
  HwWatchTest() { target_.Map(kBase, 4096); }

  absl::StatusOr<WatchId> Arm(uint64_t address, std::string tag, uint32_t length = 4,
                              bool reserved = false) {
    return watch_.Arm(
        {.address = address, .length = length, .tag = tag, .reserved_slot = reserved});
  }
  WatchHits OnExit(int vcpu, const kvm_debug_exit_arch& exit) {
    WatchHits hits;
    hits.count = -1;
    target_.OnVcpuThread(vcpu, [&] { watch_.OnExit(vcpu, exit, hits); });
    return hits;
  }
  uint64_t Dr7(int vcpu) { return target_.guest_debug(vcpu).arch.debugreg[7]; }

  DebugTargetFake target_{2};
  absl::Status delivers_ = absl::OkStatus();
  int asked_ = 0;
  HwWatch watch_{target_, [this] {
                   ++asked_;
                   return delivers_;
                 }};
};

TEST_F(HwWatchTest, ArmsEveryVcpuOnItsOwnThreadUnderOneFreeze) {
  ASSERT_THAT(Arm(kBase + 8, "word"), IsOk());
  EXPECT_EQ(target_.freezes(), 1);
  ASSERT_EQ(target_.changes().size(), 2u);
  for (int vcpu = 0; vcpu < 2; ++vcpu) {
    const Change& change = target_.changes()[vcpu];
    EXPECT_EQ(change.vcpu, vcpu);
    EXPECT_TRUE(change.frozen);
    EXPECT_EQ(change.debug.control, uint32_t{KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP});
    EXPECT_EQ(change.debug.arch.debugreg[1], kBase + 8);
    EXPECT_EQ(change.debug.arch.debugreg[7], kDr7Slot1FourBytes);
  }
}

TEST_F(HwWatchTest, EncodesEveryLengthInEverySlot) {
  // LEN: 00, 01, 11, 10 for 1, 2, 4, 8 (SDM vol. 3B §17.2.4).
  ASSERT_THAT(Arm(kBase + 1, "r", 1, /*reserved=*/true), IsOk());
  EXPECT_EQ(Dr7(0), 0x400u | 0x3 | 0x1 << 16);
  ASSERT_THAT(Arm(kBase + 2, "a", 2), IsOk());
  ASSERT_THAT(Arm(kBase + 8, "b", 8), IsOk());
  ASSERT_THAT(Arm(kBase + 16, "c", 4), IsOk());
  EXPECT_EQ(Dr7(1), 0x400u | 0xff | 0x1ull << 16 | 0x5ull << 20 | 0x9ull << 24 | 0xdull << 28);
}

TEST_F(HwWatchTest, ASelfTestThatFailsRefusesTheArmAndASuccessIsAskedForOnce) {
  delivers_ = absl::FailedPreconditionError("accepts and never delivers");
  EXPECT_THAT(Arm(kBase, "x"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("never delivers")));
  EXPECT_TRUE(target_.changes().empty());
  delivers_ = absl::OkStatus();
  EXPECT_THAT(Arm(kBase, "x"), IsOk());
  EXPECT_THAT(Arm(kBase + 8, "y"), IsOk());
  EXPECT_EQ(asked_, 2);
}

TEST_F(HwWatchTest, RefusesLengthsAndAlignmentsTheProcessorLacks) {
  EXPECT_THAT(Arm(kBase, "three", 3), StatusIs(absl::StatusCode::kInvalidArgument,
                                               AllOf(HasSubstr("3 bytes"), HasSubstr("'three'"),
                                                     HasSubstr("1, 2, 4 or 8"))));
  EXPECT_THAT(Arm(kBase + 2, "odd", 4),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("multiple of the length")));
  EXPECT_THAT(Arm(kBase, "none", 0), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(HwWatchTest, RefusesAnAddressThatIsNotMapped) {
  EXPECT_THAT(Arm(kBase + 8192, "later"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("'later'"), HasSubstr("0xffffffff82002000"))));
  EXPECT_TRUE(target_.changes().empty());
  EXPECT_THAT(Arm(kBase, "now"), IsOk());
  EXPECT_EQ(target_.guest_debug(0).arch.debugreg[1], kBase) << "the slot was consumed";
}

TEST_F(HwWatchTest, AllSlotsTakenNamesWhoHasThem) {
  ASSERT_THAT(Arm(kBase, "alpha"), IsOk());
  ASSERT_THAT(Arm(kBase + 8, "beta"), IsOk());
  ASSERT_THAT(Arm(kBase + 16, "gamma"), IsOk());
  EXPECT_THAT(Arm(kBase + 24, "delta"),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("'delta'"), HasSubstr("'alpha' (slot 1)"),
                             HasSubstr("'beta' (slot 2)"), HasSubstr("'gamma' (slot 3)"))));
  // Slot 0 is still there for its owner, and for one owner only.
  EXPECT_THAT(Arm(kBase + 24, "exit_kind", 4, true), IsOk());
  EXPECT_THAT(Arm(kBase + 32, "other", 4, true),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("'exit_kind'")));
}

TEST_F(HwWatchTest, OverlappingUserWatchesAreRefusedAndBothAreNamed) {
  ASSERT_THAT(Arm(kBase + 8, "whole", 8), IsOk());
  EXPECT_THAT(Arm(kBase + 12, "half", 4),
              StatusIs(absl::StatusCode::kAlreadyExists,
                       AllOf(HasSubstr("'half'"), HasSubstr("'whole'"), HasSubstr("overlap"))));
  EXPECT_THAT(Arm(kBase + 15, "last byte", 1), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(Arm(kBase + 16, "beside", 4), IsOk());
  EXPECT_THAT(Arm(kBase + 4, "before", 4), IsOk());
}

TEST_F(HwWatchTest, AFailureOnOneVcpuRollsTheOthersBackAndFreesTheSlot) {
  ASSERT_THAT(Arm(kBase, "first"), IsOk());
  const uint64_t before = Dr7(0);
  target_.FailNextSetGuestDebug(1, absl::UnavailableError("injected"));
  EXPECT_THAT(Arm(kBase + 8, "second"),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("'second'"), HasSubstr("vCPU 1"), HasSubstr("injected"))));
  EXPECT_EQ(Dr7(0), before);
  EXPECT_EQ(Dr7(1), before);
  EXPECT_EQ(target_.guest_debug(0).arch.debugreg[2], 0u);
  // The slot is free: all three can be filled now.
  EXPECT_THAT(Arm(kBase + 8, "second"), IsOk());
  EXPECT_THAT(Arm(kBase + 16, "third"), IsOk());
}

TEST_F(HwWatchTest, AFreezeThatFailsArmsNothing) {
  target_.FailNextFreeze(absl::DeadlineExceededError("vCPU 1 did not park"));
  EXPECT_THAT(Arm(kBase, "x"),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("vCPU 1 did not park")));
  EXPECT_TRUE(target_.changes().empty());
  EXPECT_EQ(OnExit(0, Exit(1 << 1)).count, 0);
}

TEST_F(HwWatchTest, AHitHasItsSlotValuesAndNextPc) {
  target_.Store<uint32_t>(kBase + 8, 41);
  absl::StatusOr<WatchId> id = Arm(kBase + 8, "word");
  ASSERT_THAT(id, IsOk());
  target_.Store<uint32_t>(kBase + 8, 42);
  WatchHits hits = OnExit(1, Exit(1 << 1, 0x1234));
  ASSERT_EQ(hits.count, 1);
  const WatchHit& hit = hits.hits[0];
  EXPECT_EQ(hit.watch, *id);
  EXPECT_EQ(hit.slot, 1);
  EXPECT_EQ(hit.vcpu, 1);
  EXPECT_EQ(hit.address, kBase + 8);
  EXPECT_EQ(hit.length, 4u);
  EXPECT_EQ(hit.next_pc, 0x1234u);
  EXPECT_EQ(hit.writer_pc, 0u);
  EXPECT_TRUE(hit.values_known);
  EXPECT_EQ(hit.old_value, 41u);
  EXPECT_EQ(hit.new_value, 42u);
  // A store of the same value is a hit too, and old follows new across vCPUs.
  hits = OnExit(0, Exit(1 << 1));
  ASSERT_EQ(hits.count, 1);
  EXPECT_EQ(hits.hits[0].old_value, 42u);
  EXPECT_EQ(hits.hits[0].new_value, 42u);
}

TEST_F(HwWatchTest, ValuesHaveTheWatchsOwnLength) {
  target_.Store<uint64_t>(kBase, 0x1122334455667788);
  ASSERT_THAT(Arm(kBase, "eight", 8), IsOk());
  target_.Store<uint64_t>(kBase + 8, 0x1122334455667788);
  ASSERT_THAT(Arm(kBase + 9, "one", 1), IsOk());
  target_.Store<uint64_t>(kBase, ~0ull);
  target_.Store<uint64_t>(kBase + 8, ~0ull);
  WatchHits hits = OnExit(0, Exit(1 << 1 | 1 << 2));
  ASSERT_EQ(hits.count, 2);
  EXPECT_EQ(hits.hits[0].old_value, 0x1122334455667788u);
  EXPECT_EQ(hits.hits[0].new_value, ~0ull);
  EXPECT_EQ(hits.hits[1].old_value, 0x77u);
  EXPECT_EQ(hits.hits[1].new_value, 0xffu);
}

TEST_F(HwWatchTest, AllSlotsOfOneExitAreHits) {
  ASSERT_THAT(Arm(kBase, "r", 4, true), IsOk());
  ASSERT_THAT(Arm(kBase + 8, "a"), IsOk());
  ASSERT_THAT(Arm(kBase + 16, "b"), IsOk());
  ASSERT_THAT(Arm(kBase + 24, "c"), IsOk());
  WatchHits hits = OnExit(0, Exit(0xf));
  ASSERT_EQ(hits.count, 4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(hits.hits[i].slot, i);
}

TEST_F(HwWatchTest, BitsOfSlotsThatAreNotArmedAreMasked) {
  ASSERT_THAT(Arm(kBase, "a"), IsOk());
  WatchHits hits = OnExit(0, Exit(0xf));
  ASSERT_EQ(hits.count, 1);
  EXPECT_EQ(hits.hits[0].slot, 1);
  // Only such bits: nobody's, and not the guest's either.
  target_.ForgetChanges();
  EXPECT_EQ(OnExit(0, Exit(1 << 3)).count, 0);
  EXPECT_TRUE(target_.changes().empty());
}

TEST_F(HwWatchTest, AUserWatchOverTheReservedWordHitsWithIt) {
  ASSERT_THAT(Arm(kBase + 4, "exit_kind", 4, true), IsOk());
  ASSERT_THAT(Arm(kBase, "around", 8), IsOk());
  ASSERT_EQ(OnExit(0, Exit(1 << 0)).count, 2) << "the inner watch was hit, so the outer was";
  WatchHits hits = OnExit(0, Exit(1 << 1));
  ASSERT_EQ(hits.count, 1) << "the outer one may have been hit beside the inner";
  EXPECT_EQ(hits.hits[0].slot, 1);
}

TEST_F(HwWatchTest, DisarmFreesTheSlotEverywhereAndALateHitIsDropped) {
  absl::StatusOr<WatchId> a = Arm(kBase, "a");
  absl::StatusOr<WatchId> b = Arm(kBase + 8, "b");
  ASSERT_THAT(a, IsOk());
  ASSERT_THAT(b, IsOk());
  ASSERT_THAT(watch_.Disarm(*a), IsOk());
  for (int vcpu = 0; vcpu < 2; ++vcpu) {
    EXPECT_EQ(target_.guest_debug(vcpu).arch.debugreg[7] & 0xff, 0x30u);
    EXPECT_EQ(target_.guest_debug(vcpu).arch.debugreg[1], 0u);
  }
  target_.ForgetChanges();
  EXPECT_EQ(OnExit(1, Exit(1 << 1)).count, 0);
  EXPECT_TRUE(target_.changes().empty()) << "a late hit must not reach the guest";
  ASSERT_THAT(watch_.Disarm(*b), IsOk());
  EXPECT_EQ(target_.guest_debug(0).control, 0u) << "the guest's own breakpoints work again";
  EXPECT_THAT(watch_.Disarm(*a), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(watch_.Disarm(kNoWatch), StatusIs(absl::StatusCode::kNotFound));
  absl::StatusOr<WatchId> again = Arm(kBase, "a");
  ASSERT_THAT(again, IsOk());
  EXPECT_NE(*again, *a) << "an id is not used twice";
}

TEST_F(HwWatchTest, AVcpuThatIsGoneDoesNotKeepADisarmFromSucceeding) {
  absl::StatusOr<WatchId> a = Arm(kBase, "a");
  ASSERT_THAT(a, IsOk());
  target_.FailNextSetGuestDebug(0, absl::FailedPreconditionError("vCPU 0 has stopped"));
  EXPECT_THAT(watch_.Disarm(*a), IsOk());
  EXPECT_EQ(target_.guest_debug(1).control, 0u);
}

// The guest single-steps itself: DR6 first, then the exception and our own state in one call.
TEST_F(HwWatchTest, TheGuestsOwnSingleStepIsGivenBackWhole) {
  ASSERT_THAT(Arm(kBase, "a"), IsOk());
  target_.ForgetChanges();
  target_.debug_regs(1) = {.db = {1, 2, 3, 4}, .dr6 = 0xffff2ff1, .dr7 = 0x401};
  EXPECT_EQ(OnExit(1, Exit(1 << 14)).count, 0);
  ASSERT_EQ(target_.changes().size(), 2u);
  const Change& regs = target_.changes()[0];
  ASSERT_EQ(regs.kind, Change::kDebugRegs);
  EXPECT_EQ(regs.vcpu, 1);
  EXPECT_EQ(regs.regs.dr6, 0xffff6ff0u) << "BS set, BD kept as the guest had it, B0 cleared";
  EXPECT_EQ(regs.regs.db[3], 4u);
  EXPECT_EQ(regs.regs.dr7, 0x401u);
  const Change& debug = target_.changes()[1];
  ASSERT_EQ(debug.kind, Change::kGuestDebug);
  EXPECT_EQ(debug.debug.control,
            uint32_t{KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_DB});
  EXPECT_EQ(debug.debug.arch.debugreg[1], kBase);
  EXPECT_EQ(debug.debug.arch.debugreg[7], kDr7Slot1FourBytes);
  // The next change of our state must not inject it again.
  ASSERT_THAT(Arm(kBase + 8, "b"), IsOk());
  EXPECT_EQ(target_.guest_debug(1).control, uint32_t{KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP});
}

TEST_F(HwWatchTest, AStepOverAWatchedStoreIsBothAHitAndTheGuests) {
  ASSERT_THAT(Arm(kBase, "a"), IsOk());
  target_.ForgetChanges();
  EXPECT_EQ(OnExit(0, Exit(1 << 14 | 1 << 1)).count, 1);
  ASSERT_EQ(target_.changes().size(), 2u);
  EXPECT_EQ(target_.changes()[0].regs.dr6 & 0xf, 0u) << "our slot is none of the guest's business";
}

TEST_F(HwWatchTest, BreakpointInstructionsAndIcebpAreGivenBack) {
  ASSERT_THAT(Arm(kBase, "a"), IsOk());
  target_.ForgetChanges();
  EXPECT_EQ(OnExit(0, Exit(1 << 1, 0, kBp)).count, 0);
  ASSERT_EQ(target_.changes().size(), 1u);
  EXPECT_EQ(target_.changes()[0].debug.control,
            uint32_t{KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_BP});
  target_.ForgetChanges();
  EXPECT_EQ(OnExit(0, Exit(0)).count, 0);  // ICEBP: a debug exception without a reason
  ASSERT_EQ(target_.changes().size(), 2u);
  EXPECT_EQ(target_.changes()[1].debug.control,
            uint32_t{KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_DB});
}

TEST_F(HwWatchTest, SaysWhatItCanDo) {
  EXPECT_EQ(watch_.Name(), "hw_watch");
  EXPECT_EQ(watch_.Capabilities().user_watches, 3);
  EXPECT_TRUE(watch_.Capabilities().has_reserved_slot);
}

}  // namespace
}  // namespace watchsnap
