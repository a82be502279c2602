// The ready-made guests on the machine's own /dev/kvm: they do what their comments say.
#include "testing/bare_guest/bare_guests.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;

std::unique_ptr<Machine> MakeMachine(const BareGuest& guest, int vcpus) {
  MachineConfig config;
  config.vcpus = vcpus;
  config.memory_bytes = 4 << 20;
  config.boot = guest.boot;
  config.devices.push_back(BareGuestPowerPort());
  absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
  EXPECT_THAT(machine.status(), IsOk());
  return machine.ok() ? *std::move(machine) : nullptr;
}

uint64_t ReadWord(Machine& machine, uint64_t va) {
  return machine.memory().ReadObject<uint64_t>(BareGuestBuilder::GpaOf(va)).value_or(~0ull);
}

RunEnd RunToEnd(Machine& machine) {
  EXPECT_THAT(machine.Start(), IsOk());
  const RunEnd end = machine.Wait(absl::Now() + absl::Seconds(30));
  machine.Stop();
  return end;
}

// Waits until `word` is at least `value`; the guest runs.
bool Reaches(Machine& machine, uint64_t word, uint64_t value) {
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (ReadWord(machine, word) < value) {
    if (absl::Now() > until) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

TEST(BareGuestsTest, CountsToItsEndWithEveryKindOfStore) {
  for (StoreKind kind : kAllStoreKinds) {
    SCOPED_TRACE(StoreKindName(kind));
    const uint32_t last = kind == StoreKind::kLockBts4 ? 1 : 100;
    const BareGuest guest = CountingGuest({.last = last, .kind = kind});
    auto machine = MakeMachine(guest, 1);
    ASSERT_NE(machine, nullptr);
    const RunEnd end = RunToEnd(*machine);
    EXPECT_EQ(end.kind, RunEndKind::kPowerOff) << end.detail;
    EXPECT_EQ(ReadWord(*machine, guest.words[0]), last);
  }
}

TEST(BareGuestsTest, TwoVcpusCountInTurns) {
  const BareGuest guest = CountingGuest({.last = 95, .vcpus = 2, .turn = 10});
  auto machine = MakeMachine(guest, 2);
  ASSERT_NE(machine, nullptr);
  EXPECT_EQ(RunToEnd(*machine).kind, RunEndKind::kPowerOff);
  EXPECT_EQ(ReadWord(*machine, guest.words[0]), 95u);
  EXPECT_EQ(ReadWord(*machine, guest.words[1]), 1u) << "stores 91 to 95 were in a turn of vCPU 1";
}

TEST(BareGuestsTest, WaitsForGo) {
  const BareGuest guest = CountingGuest({.last = 10, .wait_for_go = true});
  auto machine = MakeMachine(guest, 1);
  ASSERT_NE(machine, nullptr);
  ASSERT_THAT(machine->Start(), IsOk());
  EXPECT_EQ(machine->Wait(absl::Now() + absl::Milliseconds(20)).kind, RunEndKind::kDeadline);
  EXPECT_EQ(ReadWord(*machine, guest.words[0]), 0u);
  ASSERT_THAT(machine->memory().WriteObject<uint32_t>(BareGuestBuilder::GpaOf(guest.words[2]), 1),
              IsOk());
  EXPECT_EQ(machine->Wait(absl::Now() + absl::Seconds(30)).kind, RunEndKind::kPowerOff);
  EXPECT_EQ(ReadWord(*machine, guest.words[0]), 10u);
}

TEST(BareGuestsTest, RoundRobinStoresToAll) {
  const BareGuest guest = RoundRobinGuest(50, 3);
  auto machine = MakeMachine(guest, 1);
  ASSERT_NE(machine, nullptr);
  EXPECT_EQ(RunToEnd(*machine).kind, RunEndKind::kPowerOff);
  for (uint64_t word : guest.words) EXPECT_EQ(ReadWord(*machine, word), 50u);
}

TEST(BareGuestsTest, SpinnersSpinAndPortReadersRead) {
  for (const BareGuest& guest : {SpinningGuest(3), PortReadingGuest(3)}) {
    auto machine = MakeMachine(guest, 3);
    ASSERT_NE(machine, nullptr);
    ASSERT_THAT(machine->Start(), IsOk());
    for (uint64_t word : guest.words) EXPECT_TRUE(Reaches(*machine, word, 100));
  }
}

TEST(BareGuestsTest, HaltedOnesHalt) {
  for (const BareGuest& guest :
       {HaltedGuest(2, HaltWith::kInterruptsOn), HaltedGuest(2, HaltWith::kInterruptsOff)}) {
    auto machine = MakeMachine(guest, 2);
    ASSERT_NE(machine, nullptr);
    ASSERT_THAT(machine->Start(), IsOk());
    for (uint64_t word : guest.words) EXPECT_TRUE(Reaches(*machine, word, 1));
    EXPECT_EQ(machine->Wait(absl::Now() + absl::Milliseconds(20)).kind, RunEndKind::kDeadline);
    machine->Stop();
    for (uint64_t word : guest.words) EXPECT_EQ(ReadWord(*machine, word), 1u);
  }
  const BareGuest guest = SpinningAndHaltedGuest(2);
  auto machine = MakeMachine(guest, 2);
  ASSERT_NE(machine, nullptr);
  ASSERT_THAT(machine->Start(), IsOk());
  EXPECT_TRUE(Reaches(*machine, guest.words[0], 100));
}

}  // namespace
}  // namespace watchsnap
