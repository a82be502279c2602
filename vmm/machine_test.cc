// The machine and its pause barrier on real vCPUs: bare guests on the machine's own /dev/kvm.
#include "vmm/machine.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/bare_guest/bare_guest_builder.h"
#include "testing/bare_guest/bare_guests.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(30);

std::unique_ptr<Machine> MakeMachine(const BareBoot& boot, int vcpus,
                                     std::vector<DeviceFactory> devices = {}) {
  MachineConfig config;
  config.vcpus = vcpus;
  config.memory_bytes = 16 << 20;
  config.boot = boot;
  config.devices = std::move(devices);
  config.devices.push_back(BareGuestPowerPort());
  absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
  EXPECT_THAT(machine.status(), IsOk());
  return machine.ok() ? *std::move(machine) : nullptr;
}

// The bytes of a word of the guest.
uint64_t Word(Machine& machine, uint64_t va) {
  const uint8_t* host = machine.memory().HostAddress(BareGuestBuilder::GpaOf(va), 8);
  return __atomic_load_n(reinterpret_cast<const uint64_t*>(host), __ATOMIC_SEQ_CST);
}

void WaitUntil(const std::function<bool()>& condition) {
  const absl::Time until = absl::Now() + kLong;
  while (!condition()) {
    ASSERT_LT(absl::Now(), until) << "the guest did not get there";
    std::this_thread::yield();
  }
}

TEST(MachineTest, AProgramRunsToItsPowerOff) {
  const BareGuest guest = CountingGuest({.last = 100, .vcpus = 2});
  auto machine = MakeMachine(guest.boot, 2);
  ASSERT_THAT(machine->Start(), IsOk());
  EXPECT_EQ(machine->Wait(absl::Now() + kLong).kind, RunEndKind::kPowerOff);
  machine->Stop();
  EXPECT_EQ(Word(*machine, guest.words[0]), 100u);
}

TEST(MachineTest, ATripleFaultIsToldWithItsPlace) {
  BareGuestBuilder builder;
  builder.Mov(Reg::kRbx, 0x7f00'0000'0000);  // not mapped, and there is no IDT
  const uint64_t fault = builder.NextAddress();
  builder.Store(Reg::kRbx, Reg::kRax, 4);
  auto machine = MakeMachine(builder.Build(), 1);
  ASSERT_THAT(machine->Start(), IsOk());
  const RunEnd end = machine->Wait(absl::Now() + kLong);
  EXPECT_EQ(end.kind, RunEndKind::kTripleFault) << end.detail;
  machine->Stop();
  EXPECT_NE(fault, 0u);
}

TEST(MachineTest, ADeadlineAndAnInterruptAreToldApart) {
  const BareGuest guest = SpinningGuest(1);
  auto machine = MakeMachine(guest.boot, 1);
  ASSERT_THAT(machine->Start(), IsOk());
  EXPECT_EQ(machine->Wait(absl::Now() + absl::Milliseconds(20)).kind, RunEndKind::kDeadline);
  machine->Interrupt("enough");
  const RunEnd end = machine->Wait(absl::Now() + kLong);
  EXPECT_EQ(end.kind, RunEndKind::kInterrupted);
  EXPECT_EQ(end.detail, "enough");
}

TEST(MachineTest, APanicProbeTurnsTheEndIntoAPanic) {
  BareGuestBuilder builder;
  builder.Mov(Reg::kRbx, 0x7f00'0000'0000);
  builder.Store(Reg::kRbx, Reg::kRax, 4);
  MachineConfig config;
  config.memory_bytes = 16 << 20;
  config.boot = builder.Build();
  config.panic_probe = [] { return true; };
  auto machine = Machine::Create(std::move(config));
  ASSERT_THAT(machine.status(), IsOk());
  ASSERT_THAT((*machine)->Start(), IsOk());
  const RunEnd end = (*machine)->Wait(absl::Now() + kLong);
  EXPECT_EQ(end.kind, RunEndKind::kPanic);
  EXPECT_THAT(end.detail, HasSubstr("triple fault"));
}

TEST(MachineTest, SeveralMachinesInOneProcess) {
  const BareGuest guest = CountingGuest({.last = 50});
  auto a = MakeMachine(guest.boot, 1);
  auto b = MakeMachine(guest.boot, 1);
  ASSERT_THAT(a->Start(), IsOk());
  ASSERT_THAT(b->Start(), IsOk());
  EXPECT_EQ(a->Wait(absl::Now() + kLong).kind, RunEndKind::kPowerOff);
  EXPECT_EQ(b->Wait(absl::Now() + kLong).kind, RunEndKind::kPowerOff);
}

TEST(MachineTest, AMachineThatNeverStartedStops) {
  auto machine = MakeMachine(SpinningGuest(2).boot, 2);
  EXPECT_THAT(machine->RunOnVcpu(1, [](Vcpu& vcpu) {
                EXPECT_EQ(vcpu.index(), 1);
                return absl::OkStatus();
              }),
              IsOk());
}

TEST(MachineTest, BadConfigurationsAreRefusedWithTheReason) {
  MachineConfig config;
  config.vcpus = 65;
  EXPECT_THAT(Machine::Create(std::move(config)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 to 64")));
  MachineConfig no_kvm;
  no_kvm.kvm_path = "/dev/null/kvm";
  no_kvm.boot = SpinningGuest(1).boot;
  EXPECT_THAT(Machine::Create(std::move(no_kvm)).status().message(), HasSubstr("/dev/null/kvm"));
}

// ---- the pause barrier on real vCPUs ----

// Frozen vCPUs do not move, whatever they were doing, and go on afterwards.
void FreezeRounds(Machine& machine, const std::vector<uint64_t>& moving, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    absl::StatusOr<FrozenVcpus> frozen = machine.Freeze(kLong);
    ASSERT_THAT(frozen.status(), IsOk()) << "round " << round;
    if (round % 100 != 0) continue;
    std::vector<uint64_t> before;
    for (uint64_t va : moving) before.push_back(Word(machine, va));
    std::this_thread::yield();
    for (size_t i = 0; i < moving.size(); ++i) ASSERT_EQ(Word(machine, moving[i]), before[i]);
  }
  for (uint64_t va : moving) {
    const uint64_t before = Word(machine, va);
    WaitUntil([&] { return Word(machine, va) != before; });
  }
}

TEST(FreezeTest, TenThousandFreezesOfSpinningAndHaltedVcpusLoseNone) {
  const BareGuest guest = SpinningAndHaltedGuest(3);
  auto machine = MakeMachine(guest.boot, 3);
  ASSERT_THAT(machine->Start(), IsOk());
  FreezeRounds(*machine, {guest.words[0]}, 10'000);
}

TEST(FreezeTest, SpinningVcpus) {
  const BareGuest guest = SpinningGuest(2);
  auto machine = MakeMachine(guest.boot, 2);
  ASSERT_THAT(machine->Start(), IsOk());
  FreezeRounds(*machine, guest.words, 500);
}

TEST(FreezeTest, VcpusInsideADeviceAccessFinishItFirst) {
  const BareGuest guest = PortReadingGuest(2);
  auto machine = MakeMachine(guest.boot, 2);
  ASSERT_THAT(machine->Start(), IsOk());
  FreezeRounds(*machine, guest.words, 1000);
}

TEST(FreezeTest, HaltedVcpusWithAndWithoutInterrupts) {
  for (HaltWith with : {HaltWith::kInterruptsOn, HaltWith::kInterruptsOff}) {
    const BareGuest guest = HaltedGuest(2, with);
    auto machine = MakeMachine(guest.boot, 2);
    ASSERT_THAT(machine->Start(), IsOk());
    for (uint64_t word : guest.words) {
      WaitUntil([&] { return Word(*machine, word) == 1; });
    }
    for (int i = 0; i < 200; ++i) ASSERT_THAT(machine->Freeze(kLong).status(), IsOk());
  }
}

TEST(FreezeTest, VcpusThatWaitForTheirStartUpIpi) {
  BareGuest guest = SpinningGuest(4);
  guest.boot.started_vcpus = 1;
  auto machine = MakeMachine(guest.boot, 4);
  ASSERT_THAT(machine->Start(), IsOk());
  FreezeRounds(*machine, {guest.words[0]}, 200);
  for (int i = 1; i < 4; ++i) EXPECT_EQ(Word(*machine, guest.words[i]), 0u);
}

TEST(FreezeTest, SixtyFourVcpus) {
  const BareGuest guest = HaltedGuest(64, HaltWith::kInterruptsOff);
  auto machine = MakeMachine(guest.boot, 64);
  ASSERT_THAT(machine->Start(), IsOk());
  for (uint64_t word : guest.words) {
    WaitUntil([&] { return Word(*machine, word) == 1; });
  }
  for (int i = 0; i < 20; ++i) ASSERT_THAT(machine->Freeze(kLong).status(), IsOk());
}

TEST(FreezeTest, SavedRegistersAreThoseOfTheFrozenMoment) {
  const BareGuest guest = SpinningGuest(2);
  auto machine = MakeMachine(guest.boot, 2);
  ASSERT_THAT(machine->Start(), IsOk());
  WaitUntil([&] { return Word(*machine, guest.words[1]) != 0; });
  absl::StatusOr<FrozenVcpus> frozen = machine->Freeze(kLong);
  ASSERT_THAT(frozen.status(), IsOk());
  for (int i = 0; i < 2; ++i) {
    const VcpuRegisters& saved = machine->vcpu(i).registers();
    EXPECT_GE(saved.pc(), BareGuestBuilder::kLoadGpa);
    VcpuRegisters now;
    EXPECT_THAT(machine->RunOnVcpu(i,
                                   [&now](Vcpu& vcpu) {
                                     vcpu.SaveState();
                                     now = vcpu.registers();
                                     return absl::OkStatus();
                                   }),
                IsOk());
    EXPECT_EQ(now.pc(), saved.pc());
  }
}

// A device whose access does not return until it is let go.
class StuckPort : public Device, public IoHandler {
 public:
  static constexpr uint16_t kPort = 0x777;
  std::string_view Name() const override { return "stuck"; }
  void Read(uint64_t, absl::Span<uint8_t> data) override {
    entered = true;
    let_go.WaitForNotification();
    std::fill(data.begin(), data.end(), 0);
  }
  void Write(uint64_t, absl::Span<const uint8_t>) override {}

  static inline std::atomic<bool> entered{false};
  static inline absl::Notification let_go;
};

TEST(FreezeTest, AVcpuThatCannotParkIsNamedAndTheOthersGoOn) {
  BareGuestBuilder builder;
  const uint64_t word = builder.AllocateWord();
  builder.Mov(Reg::kRbx, word);
  const auto stuck = builder.NewLabel();
  builder.CmpImm(Reg::kRdi, 1);
  builder.JmpIf(If::kEqual, stuck);
  const auto spin = builder.Here();
  builder.Inc(Reg::kRbx, 8);
  builder.Jmp(spin);
  builder.Bind(stuck);
  builder.In8(StuckPort::kPort);
  builder.HaltForever();
  auto machine = MakeMachine(
      builder.Build(), 3, {[](DeviceHost& host) -> absl::StatusOr<std::unique_ptr<Device>> {
        auto port = std::make_unique<StuckPort>();
        absl::Status status = host.pio().Insert(StuckPort::kPort, 1, port.get());
        if (!status.ok()) return status;
        return port;
      }});
  ASSERT_THAT(machine->Start(), IsOk());
  WaitUntil([] { return StuckPort::entered.load(); });
  EXPECT_THAT(machine->Freeze(absl::Milliseconds(100)).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("vCPU 1 did not park")));
  const uint64_t before = Word(*machine, word);
  WaitUntil([&] { return Word(*machine, word) != before; });
  StuckPort::let_go.Notify();
  EXPECT_THAT(machine->Freeze(kLong).status(), IsOk());
}

}  // namespace
}  // namespace watchsnap
