// hw_watch where watchpoints are delivered: bare guests, real traps. Runs in the emulated KVM host
// as hw_watch_delivery_test, or on any machine whose KVM delivers.
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "debug/debug_dispatcher.h"
#include "debug/hit_sink.h"
#include "debug/hw_watch/self_test.h"
#include "debug/machine_debug_target.h"
#include "debug/registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/bare_guest/bare_guests.h"
#include "testing/bare_guest/tracing_guest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

// Keeps all hits. One writer at a time, or one vCPU: no lock between them but the count.
class Recorder : public HitSink {
 public:
  explicit Recorder(size_t room) : hits_(room) {}
  void OnHits(int vcpu, const WatchHits& hits) override {
    EXPECT_GT(hits.count, 0);
    for (int i = 0; i < hits.count; ++i) {
      EXPECT_EQ(hits.hits[i].vcpu, vcpu);
      const size_t at = count_.fetch_add(1);
      if (at < hits_.size()) hits_[at] = hits.hits[i];
    }
  }
  size_t count() const { return count_.load(); }
  const WatchHit& operator[](size_t i) const { return hits_[i]; }

 private:
  std::atomic<size_t> count_{0};
  std::vector<WatchHit> hits_;
};

struct Setup {
  DebugDispatcher dispatcher;
  std::unique_ptr<Machine> machine;
  std::unique_ptr<MachineDebugTarget> target;
  std::unique_ptr<DebugDevice> device;

  ~Setup() {
    if (machine != nullptr) machine->Stop();
  }
};

std::unique_ptr<Setup> Make(const BareBoot& boot, int vcpus, HitSink* sink) {
  auto setup = std::make_unique<Setup>();
  MachineConfig config;
  config.vcpus = vcpus;
  config.memory_bytes = 4 << 20;
  config.boot = boot;
  config.devices.push_back(BareGuestPowerPort());
  config.observer = &setup->dispatcher;
  absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
  EXPECT_THAT(machine, IsOk());
  if (!machine.ok()) return nullptr;
  setup->machine = *std::move(machine);
  setup->target = std::make_unique<MachineDebugTarget>(setup->machine.get());
  absl::StatusOr<std::unique_ptr<DebugDevice>> device =
      CreateDebugDevice("hw_watch", *setup->target);
  EXPECT_THAT(device, IsOk());
  if (!device.ok()) return nullptr;
  setup->device = *std::move(device);
  setup->dispatcher.Connect(setup->device.get(), sink);
  return setup;
}

void RunToPowerOff(Setup& setup) {
  ASSERT_THAT(setup.machine->Start(), IsOk());
  const RunEnd end = setup.machine->Wait(absl::Now() + absl::Seconds(120));
  setup.machine->Stop();
  ASSERT_EQ(end.kind, RunEndKind::kPowerOff) << RunEndKindName(end.kind) << " " << end.detail;
}

bool Eventually(const std::function<bool()>& condition) {
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (!condition()) {
    if (absl::Now() > until) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

uint64_t ReadWord(Setup& setup, uint64_t va) {
  return setup.machine->memory().ReadObject<uint64_t>(BareGuestBuilder::GpaOf(va)).value_or(0);
}

TEST(HwWatchDelivery, TheSelfTestFindsThatAllFourSlotsDeliver) {
  absl::StatusOr<SelfTestResult> result = RunHwWatchSelfTest();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->Summary(), "slot 0, 1, 2, 3: delivers");
  EXPECT_THAT(HwWatchDeliversHere(), IsOk());
}

void ExpectExactPairs(int vcpus) {
  constexpr uint32_t kLast = 10000;
  constexpr int kTurn = 16;
  const BareGuest guest = CountingGuest({.last = kLast, .vcpus = vcpus, .turn = kTurn});
  Recorder recorder(kLast);
  auto setup = Make(guest.boot, vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  absl::StatusOr<WatchId> watch =
      setup->device->Arm({.address = guest.words[0], .length = 4, .tag = "word"});
  ASSERT_THAT(watch, IsOk());
  ASSERT_NO_FATAL_FAILURE(RunToPowerOff(*setup));
  ASSERT_EQ(recorder.count(), kLast);
  for (uint32_t i = 0; i < kLast; ++i) {
    const WatchHit& hit = recorder[i];
    ASSERT_EQ(hit.old_value, i);
    ASSERT_EQ(hit.new_value, i + 1);
    ASSERT_EQ(hit.watch, *watch);
    ASSERT_EQ(hit.slot, 1);
    ASSERT_EQ(hit.vcpu, static_cast<int>(i) / kTurn % vcpus);
    ASSERT_EQ(hit.next_pc, guest.stores[0].next_pc);
    ASSERT_TRUE(hit.values_known);
  }
}

TEST(HwWatchDelivery, TenThousandStoresAreTenThousandExactPairsOnOneVcpu) { ExpectExactPairs(1); }
TEST(HwWatchDelivery, TenThousandStoresAreTenThousandExactPairsOnTwoVcpus) { ExpectExactPairs(2); }

TEST(HwWatchDelivery, EveryKindOfStoreIsSeen) {
  for (StoreKind kind : kAllStoreKinds) {
    SCOPED_TRACE(StoreKindName(kind));
    const uint32_t last = kind == StoreKind::kLockBts4 ? 1 : 20;
    const BareGuest guest = CountingGuest({.last = last, .kind = kind});
    Recorder recorder(2 * last);
    auto setup = Make(guest.boot, 1, &recorder);
    ASSERT_NE(setup, nullptr);
    ASSERT_THAT(setup->device->Arm({.address = guest.words[0], .length = 4, .tag = "word"}),
                IsOk());
    ASSERT_NO_FATAL_FAILURE(RunToPowerOff(*setup));
    ASSERT_EQ(recorder.count(), last);
    for (uint32_t i = 0; i < last; ++i) {
      EXPECT_EQ(recorder[i].old_value, i);
      EXPECT_EQ(recorder[i].new_value, i + 1);
      EXPECT_EQ(recorder[i].next_pc, guest.stores[0].next_pc);
    }
  }
}

TEST(HwWatchDelivery, ThreeUserWatchesAndTheReservedOneHitAtTheirOwnSlots) {
  constexpr uint32_t kLast = 500;
  const BareGuest guest = RoundRobinGuest(kLast, 4);
  Recorder recorder(4 * kLast);
  auto setup = Make(guest.boot, 1, &recorder);
  ASSERT_NE(setup, nullptr);
  // Word 3 is the reserved slot's, 0 to 2 the user's.
  for (int i = 0; i < 4; ++i) {
    ASSERT_THAT(setup->device->Arm({.address = guest.words[i],
                                    .length = 4,
                                    .tag = std::string(1, static_cast<char>('a' + i)),
                                    .reserved_slot = i == 3}),
                IsOk());
  }
  // One too many changes nothing for the others.
  EXPECT_THAT(setup->device->Arm({.address = guest.words[0] + 32, .length = 4, .tag = "fourth"}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("'b' (slot 2)")));
  ASSERT_NO_FATAL_FAILURE(RunToPowerOff(*setup));
  ASSERT_EQ(recorder.count(), 4 * kLast);
  for (uint32_t i = 0; i < 4 * kLast; ++i) {
    const int word = i % 4;
    ASSERT_EQ(recorder[i].address, guest.words[word]);
    ASSERT_EQ(recorder[i].slot, word == 3 ? 0 : word + 1);
    ASSERT_EQ(recorder[i].old_value, i / 4);
    ASSERT_EQ(recorder[i].new_value, i / 4 + 1);
    ASSERT_EQ(recorder[i].next_pc, guest.stores[word].next_pc);
  }
}

TEST(HwWatchDelivery, EveryLengthIsWatched) {
  for (uint32_t length : {1, 2, 4, 8}) {
    const BareGuest guest = CountingGuest({.last = 20, .kind = StoreKind::kMov8});
    Recorder recorder(40);
    auto setup = Make(guest.boot, 1, &recorder);
    ASSERT_NE(setup, nullptr);
    ASSERT_THAT(setup->device->Arm({.address = guest.words[0], .length = length, .tag = "word"}),
                IsOk());
    ASSERT_NO_FATAL_FAILURE(RunToPowerOff(*setup));
    EXPECT_EQ(recorder.count(), 20u) << length << " bytes";
    EXPECT_EQ(recorder[19].new_value, 20u);
  }
}

TEST(HwWatchDelivery, ArmsAndDisarmsWhileVcpusSpinAndHalt) {
  const BareGuest guest = SpinningAndHaltedGuest(3);
  Recorder recorder(0);
  auto setup = Make(guest.boot, 3, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->machine->Start(), IsOk());
  ASSERT_TRUE(Eventually([&] { return ReadWord(*setup, guest.words[0]) > 100; }));
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(recorder.count() > 0, round > 0);
    const size_t before = recorder.count();
    absl::StatusOr<WatchId> watch =
        setup->device->Arm({.address = guest.words[0], .length = 8, .tag = "counter"});
    ASSERT_THAT(watch, IsOk());
    ASSERT_TRUE(Eventually([&] { return recorder.count() > before + 10; }));
    ASSERT_THAT(setup->device->Disarm(*watch), IsOk());
    const size_t after = recorder.count();
    const uint64_t value = ReadWord(*setup, guest.words[0]);
    ASSERT_TRUE(Eventually([&] { return ReadWord(*setup, guest.words[0]) > value + 100; }));
    EXPECT_EQ(recorder.count(), after) << "a hit after Disarm returned";
  }
}

TEST(HwWatchDelivery, AVcpuThatStillWaitsForItsStartIsArmedToo) {
  BareGuest guest = SpinningGuest(2);
  guest.boot.started_vcpus = 1;
  Recorder recorder(0);
  auto setup = Make(guest.boot, 2, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->machine->Start(), IsOk());
  ASSERT_TRUE(Eventually([&] { return ReadWord(*setup, guest.words[0]) > 100; }));
  ASSERT_THAT(setup->device->Arm({.address = guest.words[0], .length = 8, .tag = "counter"}),
              IsOk());
  EXPECT_TRUE(Eventually([&] { return recorder.count() > 10; }));
}

// Two vCPUs store to one word as they like: values may belong to the other's store, but no hit is
// lost and old follows new.
TEST(HwWatchDelivery, UnorderedWritersLoseNoHit) {
  constexpr uint32_t kEach = 2000;
  const BareGuest guest = StormGuest(2, kEach, 1);
  Recorder recorder(2 * kEach);
  auto setup = Make(guest.boot, 2, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->device->Arm({.address = guest.words[0], .length = 4, .tag = "word"}), IsOk());
  ASSERT_NO_FATAL_FAILURE(RunToPowerOff(*setup));
  EXPECT_EQ(recorder.count(), 2 * kEach);
  EXPECT_EQ(ReadWord(*setup, guest.words[0]), 2 * kEach);
  uint64_t sum = 0;
  for (size_t i = 0; i < 2 * kEach; ++i) sum += recorder[i].new_value - recorder[i].old_value;
  EXPECT_EQ(sum, 2 * kEach) << "every change is in one hit, whichever";
}

// The guest has a #DB handler and traces itself while we watch one of its words.
TEST(HwWatchDelivery, TheGuestsOwnDebugExceptionsReachItWithTheirReason) {
  const TracingGuest guest(/*icebp=*/true);
  Recorder recorder(10);
  auto setup = Make(guest.boot, 1, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_NO_FATAL_FAILURE(guest.InstallHandler(*setup->machine));
  ASSERT_THAT(setup->device->Arm({.address = guest.word, .length = 4, .tag = "word"}), IsOk());
  ASSERT_NO_FATAL_FAILURE(RunToPowerOff(*setup));
  ASSERT_EQ(recorder.count(), 1u);
  EXPECT_EQ(recorder[0].next_pc, guest.after_store);
  EXPECT_EQ(ReadWord(*setup, guest.count), 2u) << "one single step, one ICEBP";
  EXPECT_EQ(ReadWord(*setup, guest.step_dr6) & 0xe00f, 0x4000u) << "BS, and nothing of our slots";
  EXPECT_EQ(ReadWord(*setup, guest.icebp_dr6) & 0xe00f, 0u);
}

}  // namespace
}  // namespace watchsnap
