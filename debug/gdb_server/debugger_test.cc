#include "debug/gdb_server/debugger.h"

#include <poll.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "absl/status/status_matchers.h"
#include "absl/synchronization/notification.h"
#include "debug/gdb_server/debugger_fake.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::gdb {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::Each;
using ::testing::ElementsAre;

constexpr auto kStay = RunAction::kStay;
constexpr auto kContinue = RunAction::kContinue;
constexpr auto kStep = RunAction::kStep;
constexpr uint64_t kData = DebuggerFake::kData;
constexpr uint64_t kCode = DebuggerFake::kCode;
constexpr uint64_t kSingleStep = 1u << 14;

class DebuggerTest : public ::testing::Test {
 protected:
  bool Noticed() {
    pollfd fd = {debugger().stop_fd(), POLLIN, 0};
    return poll(&fd, 1, 0) == 1;
  }
  uint8_t CodeByte(uint64_t address) { return *fake_.target.HostAddress(0, address, 1); }
  Debugger& debugger() { return fake_.debugger; }
  const std::vector<bool>& held() { return fake_.run_control.held(); }

  DebuggerFake fake_{2};
};

TEST_F(DebuggerTest, AttachHoldsAllAndDetachLetsAllGo) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  EXPECT_THAT(held(), Each(true));
  EXPECT_EQ(fake_.target.freezes(), 1) << "to know that they are out";
  EXPECT_FALSE(Noticed());
  ASSERT_THAT(debugger().Detach(), IsOk());
  EXPECT_THAT(held(), Each(false));
  EXPECT_THAT(debugger().Attach(), IsOk()) << "and again";
}

TEST_F(DebuggerTest, OnlyThoseThatShallRunAreReleased) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().Run({kStay, kContinue}), IsOk());
  EXPECT_THAT(held(), ElementsAre(true, false));
  EXPECT_EQ(fake_.target.freezes(), 2) << "the second ends the stop for the guest's clocks";
  EXPECT_EQ(debugger().TakeStop(), std::nullopt);
  const Stop stop = debugger().Interrupt();
  EXPECT_EQ(stop.kind, Stop::kInterrupted);
  EXPECT_THAT(held(), Each(true));
}

TEST_F(DebuggerTest, AStepEndsWithAStopAndIsNotTheGuests) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().Run({kStay, kStep}), IsOk());
  EXPECT_NE(fake_.target.guest_debug(1).control & KVM_GUESTDBG_SINGLESTEP, 0u);
  EXPECT_EQ(fake_.target.guest_debug(0).control & KVM_GUESTDBG_SINGLESTEP, 0u);
  EXPECT_EQ(fake_.Exit(1, kCode + 1, kSingleStep), -1) << "the plugin does not see it";
  EXPECT_TRUE(Noticed());
  EXPECT_THAT(held(), Each(true));
  const std::optional<Stop> stop = debugger().TakeStop();
  ASSERT_TRUE(stop.has_value());
  EXPECT_EQ(stop->kind, Stop::kStep);
  EXPECT_EQ(stop->vcpu, 1);
  EXPECT_EQ(fake_.target.guest_debug(1).control & KVM_GUESTDBG_SINGLESTEP, 0u);
  EXPECT_EQ(debugger().TakeStop(), std::nullopt) << "told once";
}

TEST_F(DebuggerTest, TheGuestsOwnStepsAndBreakpointsStayTheGuests) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, kCode, 1), IsOk());
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  EXPECT_EQ(fake_.Exit(0, kCode + 1, kSingleStep), 0);
  EXPECT_NE(fake_.target.guest_debug(0).control & KVM_GUESTDBG_INJECT_DB, 0u);
  EXPECT_EQ(fake_.Exit(1, kCode + 7, 0, /*exception=*/3), 0);
  EXPECT_NE(fake_.target.guest_debug(1).control & KVM_GUESTDBG_INJECT_BP, 0u);
  EXPECT_NE(fake_.target.guest_debug(1).control & KVM_GUESTDBG_USE_SW_BP, 0u) << "ours goes on";
  EXPECT_FALSE(Noticed());
  EXPECT_THAT(held(), Each(false));
}

TEST_F(DebuggerTest, SoftwareBreakpointsAreInTheGuestsCodeAndInvisible) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, kCode + 2, 1), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, kCode + 2, 1), IsOk());
  EXPECT_EQ(CodeByte(kCode + 2), 0xcc);
  const auto read = debugger().memory().Read(0, kCode, 4);
  ASSERT_THAT(read, IsOk());
  EXPECT_THAT(*read, Each(0x90));
  ASSERT_THAT(debugger().memory().Write(0, kCode + 1, {0x01, 0x02, 0x03}), IsOk());
  EXPECT_EQ(CodeByte(kCode + 1), 0x01);
  EXPECT_EQ(CodeByte(kCode + 2), 0xcc) << "the breakpoint stands";
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  EXPECT_EQ(fake_.Exit(0, kCode + 2, 0, /*exception=*/3), -1);
  const std::optional<Stop> stop = debugger().TakeStop();
  ASSERT_TRUE(stop.has_value());
  EXPECT_EQ(stop->kind, Stop::kSoftwareBreakpoint);
  ASSERT_THAT(debugger().RemoveBreakpoint(BreakpointType::kSoftware, kCode + 2, 1), IsOk());
  EXPECT_EQ(CodeByte(kCode + 2), 0x02) << "what was written under it";
  EXPECT_EQ(fake_.target.guest_debug(0).control, 0u);
  EXPECT_THAT(debugger().RemoveBreakpoint(BreakpointType::kSoftware, kCode + 2, 1),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(DebuggerTest, CodeThatTheGuestHasPatchedIsNotPatchedBack) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, kCode, 1), IsOk());
  fake_.target.Store<uint8_t>(kCode, 0xe9);
  EXPECT_EQ((*debugger().memory().Read(0, kCode, 1))[0], 0xe9);
  ASSERT_THAT(debugger().RemoveBreakpoint(BreakpointType::kSoftware, kCode, 1), IsOk());
  EXPECT_EQ(CodeByte(kCode), 0xe9);
}

TEST_F(DebuggerTest, MemoryIsReadUpToWhereItIsMappedAndWrittenWholeOrNotAtAll) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  const auto read = debugger().memory().Read(0, kData + 4090, 100);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->size(), 6u);
  EXPECT_THAT(debugger().memory().Read(0, 0x1000, 1), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(debugger().memory().Read(0, ~0ull, 2), StatusIs(absl::StatusCode::kNotFound));
  const std::vector<uint8_t> bytes(10, 7);
  EXPECT_THAT(debugger().memory().Write(0, kData + 4090, bytes), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ((*read)[0], 0);
  EXPECT_THAT(debugger().memory().Write(0, kCode + 4091, bytes), IsOk()) << "across pages";
}

TEST_F(DebuggerTest, HardwareBreakpointsStop) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kHardware, kCode, 1), IsOk());
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  EXPECT_EQ(fake_.Exit(1, kCode, 1u << 3), -1);
  const std::optional<Stop> stop = debugger().TakeStop();
  ASSERT_TRUE(stop.has_value());
  EXPECT_EQ(stop->kind, Stop::kHardwareBreakpoint);
  EXPECT_EQ(stop->vcpu, 1);
}

TEST_F(DebuggerTest, WhereBreakpointInstructionsAreNotDeliveredHardwareServesThem) {
  fake_.software_breakpoints_work = false;
  ASSERT_THAT(debugger().Attach(), IsOk());
  for (BreakpointType type : {BreakpointType::kSoftware, BreakpointType::kHardware}) {
    ASSERT_THAT(debugger().AddBreakpoint(0, type, kCode, 1), IsOk());
    ASSERT_THAT(debugger().AddBreakpoint(0, type, kCode, 1), IsOk());
  }
  EXPECT_EQ(CodeByte(kCode), 0x90);
  ASSERT_THAT(debugger().RemoveBreakpoint(BreakpointType::kHardware, kCode, 1), IsOk());
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  EXPECT_EQ(fake_.Exit(1, kCode, 1u << 3), -1);
  EXPECT_EQ(debugger().TakeStop()->kind, Stop::kSoftwareBreakpoint) << "what gdb asked for";
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, kCode + 1, 1), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, kCode + 2, 1), IsOk());
  EXPECT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, kCode + 3, 1),
              StatusIs(absl::StatusCode::kResourceExhausted, testing::HasSubstr("does not deliver")));
  ASSERT_THAT(debugger().RemoveBreakpoint(BreakpointType::kSoftware, kCode, 1), IsOk());
  EXPECT_THAT(debugger().RemoveBreakpoint(BreakpointType::kSoftware, kCode, 1),
              StatusIs(absl::StatusCode::kNotFound));
  ASSERT_THAT(debugger().Detach(), IsOk());
  EXPECT_EQ(fake_.target.guest_debug(0).control, 0u);
}

TEST_F(DebuggerTest, AWatchStopsAndASessionsWatchDoesNot) {
  ASSERT_THAT(fake_.watches.Arm({.address = kData, .length = 8, .tag = "user"}), IsOk());
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kWrite, kData + 8, 8), IsOk());
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  EXPECT_EQ(fake_.Exit(0, kCode, 1u << 1), 1) << "for the session";
  EXPECT_FALSE(Noticed());
  EXPECT_EQ(fake_.Exit(0, kCode, 1u << 2), 0);
  const std::optional<Stop> stop = debugger().TakeStop();
  ASSERT_TRUE(stop.has_value());
  EXPECT_EQ(stop->kind, Stop::kWatch);
  EXPECT_EQ(stop->address, kData + 8);
}

TEST_F(DebuggerTest, AWatchOfBothIsACaptureAndAStopAlsoAtAStep) {
  ASSERT_THAT(fake_.watches.Arm({.address = kData, .length = 8, .tag = "user"}), IsOk());
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kWrite, kData, 8), IsOk());
  ASSERT_THAT(debugger().Run({kStep, kStay}), IsOk());
  EXPECT_EQ(fake_.Exit(0, kCode, kSingleStep | 1u << 1), 1);
  EXPECT_EQ(fake_.target.guest_debug(0).control & KVM_GUESTDBG_INJECT_DB, 0u);
  EXPECT_EQ(debugger().TakeStop()->kind, Stop::kWatch) << "more news than the step";
}

TEST_F(DebuggerTest, ASecondVcpusHitIsToldBeforeAnythingRuns) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kWrite, kData, 8), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kHardware, kCode, 1), IsOk());
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  (void)fake_.Exit(0, kCode, 1u << 3);
  (void)fake_.Exit(1, kCode + 9, 1u << 1);
  EXPECT_EQ(debugger().TakeStop()->vcpu, 1);
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  EXPECT_FALSE(Noticed()) << "the breakpoint is met again";
  (void)fake_.Exit(0, kCode + 9, 1u << 1);
  (void)fake_.Exit(1, kCode + 9, 1u << 1);
  EXPECT_EQ(debugger().TakeStop()->vcpu, 0);
  ASSERT_THAT(debugger().Run({kContinue, kStay}), IsOk());
  EXPECT_FALSE(Noticed()) << "vCPU 1 is not to run";
  EXPECT_EQ(debugger().Interrupt().kind, Stop::kInterrupted);
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  EXPECT_TRUE(Noticed());
  EXPECT_THAT(held(), Each(true));
  const std::optional<Stop> stop = debugger().TakeStop();
  ASSERT_TRUE(stop.has_value());
  EXPECT_EQ(stop->vcpu, 1);
  EXPECT_EQ(stop->kind, Stop::kWatch);
}

// A capture that takes as long as it is told to.
class SlowSink : public HitSink {
 public:
  void OnHits(int, const WatchHits&) override {
    begun.Notify();
    go_on.WaitForNotification();
  }
  absl::Notification begun, go_on;
};

TEST_F(DebuggerTest, AStopIsToldWhenTheCapturesOfThatMomentHaveBeenTaken) {
  SlowSink sink;
  debugger().SetSink(&sink);
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().Run({kContinue, kContinue}), IsOk());
  std::thread vcpu([&] { debugger().OnHits(0, WatchHits()); });
  sink.begun.WaitForNotification();
  std::atomic<bool> told{false};
  std::thread server([&] {
    (void)debugger().Interrupt();
    told = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(told);
  sink.go_on.Notify();
  server.join();
  vcpu.join();
  EXPECT_TRUE(told);
}

TEST_F(DebuggerTest, TakenSlotsAreErrorsAndReadWatchesAreNotPretended) {
  for (int i = 0; i < 2; ++i) {
    ASSERT_THAT(fake_.watches.Arm({.address = kData + 8ull * i, .length = 8, .tag = "user"}), IsOk());
  }
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kHardware, kCode, 1), IsOk());
  const auto no_slot = StatusIs(absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(debugger().AddBreakpoint(0, BreakpointType::kHardware, kCode + 1, 1), no_slot);
  EXPECT_THAT(debugger().AddBreakpoint(0, BreakpointType::kWrite, kData + 64, 8), no_slot);
  EXPECT_THAT(debugger().AddBreakpoint(0, BreakpointType::kRead, kData, 8),
              StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, 0x1000, 1),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(fake_.target.guest_debug(0).control & KVM_GUESTDBG_USE_SW_BP, 0u);
}

TEST_F(DebuggerTest, DetachTakesEverythingAwayAlsoWhileTheGuestRuns) {
  ASSERT_THAT(fake_.watches.Arm({.address = kData, .length = 8, .tag = "user"}), IsOk());
  const kvm_guest_debug before = fake_.target.guest_debug(0);
  ASSERT_THAT(debugger().Attach(), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kSoftware, kCode, 1), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kHardware, kCode + 1, 1), IsOk());
  ASSERT_THAT(debugger().AddBreakpoint(0, BreakpointType::kWrite, kData + 8, 8), IsOk());
  ASSERT_THAT(debugger().Run({kStep, kContinue}), IsOk());
  ASSERT_THAT(debugger().Detach(), IsOk());
  EXPECT_EQ(CodeByte(kCode), 0x90);
  for (int vcpu : {0, 1}) {
    EXPECT_EQ(fake_.target.guest_debug(vcpu).control, before.control);
    EXPECT_EQ(fake_.target.guest_debug(vcpu).arch.debugreg[7], before.arch.debugreg[7]);
  }
  EXPECT_THAT(held(), Each(false));
  EXPECT_EQ(fake_.Exit(0, kCode, 1u << 1), 1) << "the user's watch is as it was";
}

TEST_F(DebuggerTest, RegistersAreWritten) {
  ASSERT_THAT(debugger().Attach(), IsOk());
  VcpuRegisters registers = debugger().Registers(1);
  registers.regs.rip = kCode + 5;
  registers.sregs.fs.base = 77;
  ASSERT_THAT(debugger().SetRegisters(1, registers, /*general=*/true, /*special=*/false), IsOk());
  EXPECT_EQ(debugger().Registers(1).pc(), kCode + 5);
  EXPECT_EQ(debugger().Registers(1).sregs.fs.base, 0u);
  ASSERT_THAT(debugger().SetRegisters(1, registers, false, true), IsOk());
  EXPECT_EQ(debugger().Registers(1).sregs.fs.base, 77u);
}

}  // namespace
}  // namespace watchsnap::gdb
