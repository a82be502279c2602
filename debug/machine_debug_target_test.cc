// A debug plugin's view of a real machine with a bare guest, on any /dev/kvm: it needs no
// watchpoint to be delivered. What a plugin sees where they are is in
// hw_watch/hw_watch_delivery_main.cc.
#include "debug/machine_debug_target.h"

#include <atomic>
#include <memory>
#include <utility>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "debug/debug_dispatcher.h"
#include "debug/registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/bare_guest/bare_guests.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

class MachineDebugTargetTest : public ::testing::Test {
 protected:
  void Make(const BareGuest& guest, int vcpus) {
    guest_ = guest;
    MachineConfig config;
    config.vcpus = vcpus;
    config.memory_bytes = 4 << 20;
    config.boot = guest.boot;
    config.devices.push_back(BareGuestPowerPort());
    config.observer = &dispatcher_;
    absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
    ASSERT_THAT(machine, IsOk());
    machine_ = *std::move(machine);
    target_ = std::make_unique<MachineDebugTarget>(machine_.get());
  }
  // The guest runs meanwhile.
  uint64_t Word(int index) {
    return machine_->memory()
        .ReadObject<uint64_t>(BareGuestBuilder::GpaOf(guest_.words[index]))
        .value();
  }
  void WaitFor(int index, uint64_t value) {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (Word(index) < value) {
      ASSERT_LT(absl::Now(), until) << "the guest does not run";
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  DebugDispatcher dispatcher_;
  BareGuest guest_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineDebugTarget> target_;
};

TEST_F(MachineDebugTargetTest, FindsGuestMemoryByTheGuestsOwnTables) {
  ASSERT_NO_FATAL_FAILURE(Make(SpinningGuest(1), 1));
  const uint64_t kva = guest_.words[0];
  uint8_t* const host = machine_->memory().HostAddress(BareGuestBuilder::GpaOf(kva), 8);
  EXPECT_EQ(target_->HostAddress(0, kva, 8), host);
  EXPECT_EQ(target_->HostAddress(0, kva, 3 * 4096), host) << "contiguous pages";
  EXPECT_EQ(target_->HostAddress(0, BareGuestBuilder::GpaOf(kva), 8), host) << "the low map";
  EXPECT_EQ(target_->HostAddress(0, 0xffff888000000000, 8), nullptr) << "not mapped";
  EXPECT_EQ(target_->HostAddress(0, 0x8000000000000000, 8), nullptr) << "not canonical";
  EXPECT_EQ(target_->HostAddress(0, BareGuestBuilder::kVirtualOffset + (4 << 20), 8), nullptr)
      << "mapped, but no RAM";
  EXPECT_EQ(target_->HostAddress(0, BareGuestBuilder::kVirtualOffset + (4 << 20) - 4, 8), nullptr);
  EXPECT_EQ(target_->HostAddress(0, ~0ull - 3, 8), nullptr) << "wraps";
  EXPECT_EQ(target_->HostAddress(0, kva, 0), nullptr);
}

TEST_F(MachineDebugTargetTest, FreezesBeforeAndAfterTheStart) {
  ASSERT_NO_FATAL_FAILURE(Make(SpinningGuest(2), 2));
  int ran = 0;
  EXPECT_THAT(target_->WhileFrozen([&] {
    ++ran;
    return absl::AbortedError("passed on");
  }),
              StatusIs(absl::StatusCode::kAborted));
  ASSERT_THAT(machine_->Start(), IsOk());
  WaitFor(0, 100);
  WaitFor(1, 100);
  EXPECT_THAT(target_->WhileFrozen([&]() -> absl::Status {
    ++ran;
    const uint64_t before = Word(0) + Word(1);
    absl::SleepFor(absl::Milliseconds(10));
    EXPECT_EQ(Word(0) + Word(1), before);
    EXPECT_GE(target_->Registers(1).pc(), guest_.boot.entry);
    return absl::OkStatus();
  }),
              IsOk());
  EXPECT_EQ(ran, 2);
  const uint64_t then = Word(0);
  WaitFor(0, then + 1);
}

TEST_F(MachineDebugTargetTest, SetsAndReadsDebugRegisters) {
  ASSERT_NO_FATAL_FAILURE(Make(SpinningGuest(1), 1));
  EXPECT_THAT(target_->RunOnVcpu(0,
                                 [&]() -> absl::Status {
                                   absl::StatusOr<kvm_debugregs> regs = target_->GetDebugRegs(0);
                                   if (!regs.ok()) return regs.status();
                                   regs->db[2] = 0x1234;
                                   regs->dr6 |= 1 << 14;
                                   absl::Status status = target_->SetDebugRegs(0, *regs);
                                   if (!status.ok()) return status;
                                   absl::StatusOr<kvm_debugregs> again = target_->GetDebugRegs(0);
                                   if (!again.ok()) return again.status();
                                   EXPECT_EQ(again->db[2], 0x1234u);
                                   EXPECT_NE(again->dr6 & (1 << 14), 0u);
                                   return absl::OkStatus();
                                 }),
              IsOk());
}

// Arming through the plugin's name: works, or fails and says that the host never delivers.
TEST_F(MachineDebugTargetTest, HwWatchArmsOrSaysThatThisHostNeverDelivers) {
  ASSERT_NO_FATAL_FAILURE(Make(SpinningGuest(2), 2));
  absl::StatusOr<std::unique_ptr<DebugDevice>> device = CreateDebugDevice("hw_watch", *target_);
  ASSERT_THAT(device, IsOk());
  dispatcher_.Connect(device->get(), nullptr);
  ASSERT_THAT(machine_->Start(), IsOk());
  absl::StatusOr<WatchId> watch =
      (*device)->Arm({.address = guest_.words[0], .length = 8, .tag = "counter"});
  if (watch.ok()) {
    EXPECT_THAT((*device)->Disarm(*watch), IsOk());
  } else {
    EXPECT_THAT(watch.status(),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr("accepts a watch and never delivers a hit"),
                               HasSubstr("slot 0, 1, 2, 3"), HasSubstr("nothing is armed"),
                               HasSubstr("//testing/kvm_host"), HasSubstr("--host emulated"))));
  }
  const uint64_t then = Word(1);
  WaitFor(1, then + 100);
  machine_->Stop();
}

// Calls every debug exit a hit, until it has seen enough and switches the single step off.
class CountingDevice : public DebugDevice {
 public:
  explicit CountingDevice(DebugTarget& target) : target_(target) {}
  std::string_view Name() const override { return "counting"; }
  DebugCapabilities Capabilities() const override { return {}; }
  absl::StatusOr<WatchId> Arm(const WatchSpec&) override { return kNoWatch; }
  absl::Status Disarm(WatchId) override { return absl::OkStatus(); }
  void OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) override {
    if (++exits == 10) {
      EXPECT_THAT(target_.SetGuestDebug(vcpu, {}), IsOk());
    }
    if (exits % 2 == 0) hits.hits[hits.count++] = {.watch = 7, .vcpu = vcpu, .next_pc = exit.pc};
  }
  std::atomic<int> exits{0};

 private:
  DebugTarget& target_;
};

class CountingSink : public HitSink {
 public:
  void OnHits(int vcpu, const WatchHits& hits) override {
    EXPECT_EQ(vcpu, 1);
    EXPECT_EQ(hits.count, 1);
    EXPECT_EQ(hits.hits[0].watch, 7);
    total += hits.count;
  }
  std::atomic<int> total{0};
};

TEST_F(MachineDebugTargetTest, DebugExitsReachTheDeviceAndItsHitsTheSink) {
  ASSERT_NO_FATAL_FAILURE(Make(SpinningGuest(2), 2));
  CountingDevice device(*target_);
  CountingSink sink;
  dispatcher_.Connect(&device, &sink);
  ASSERT_THAT(target_->RunOnVcpu(1,
                                 [&] {
                                   return target_->SetGuestDebug(
                                       1, {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
                                           .pad = 0,
                                           .arch = {}});
                                 }),
              IsOk());
  ASSERT_THAT(machine_->Start(), IsOk());
  WaitFor(1, 100);
  machine_->Stop();
  EXPECT_EQ(device.exits, 10);
  EXPECT_EQ(sink.total, 5) << "the sink hears of hits only";
}

}  // namespace
}  // namespace watchsnap
