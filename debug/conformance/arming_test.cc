// Arming: when, where and how it fails.
#include <atomic>
#include <string>
#include <thread>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "debug/conformance/harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::conformance {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AnyOf;
using ::testing::Not;

constexpr uint64_t kUnmapped = 0xffff'8880'0000'0000;

// vCPU 0 counts in words[0], the others are halted: both must be stopped and go on.
TEST(Arming, ArmsAndDisarmsOnRunningAndHaltedVcpus) {
  const int vcpus = TheSubject().vcpus;
  const BareGuest guest = SpinningAndHaltedGuest(vcpus);
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->machine().Start(), IsOk());
  ASSERT_TRUE(Eventually([&] { return setup->Word(guest.words[0]) > 100; }));
  for (int round = 0; round < 10; ++round) {
    const size_t before = recorder.count();
    const absl::StatusOr<WatchId> watch =
        setup->device().Arm({.address = guest.words[0], .length = 8, .tag = "counter"});
    ASSERT_THAT(watch, IsOk());
    ASSERT_TRUE(Eventually([&] { return recorder.count() > before + 10; }));
    ASSERT_THAT(setup->device().Disarm(*watch), IsOk());
    const size_t after = recorder.count();
    const uint64_t value = setup->Word(guest.words[0]);
    ASSERT_TRUE(Eventually([&] { return setup->Word(guest.words[0]) > value + 100; }));
    EXPECT_EQ(recorder.count(), after) << "a hit after Disarm returned";
    EXPECT_THAT(setup->device().Disarm(*watch), Not(IsOk())) << "it is gone";
  }
}

// Every vCPU stores to one word.
TEST(Arming, AllVcpusAreCovered) {
  const int vcpus = TheSubject().vcpus;
  BareGuestBuilder builder;
  const uint64_t word = builder.AllocateWord();
  builder.Mov(Reg::kRbx, word);
  const auto again = builder.Here();
  builder.LockInc(Reg::kRbx, 4);
  builder.Jmp(again);
  Recorder recorder;
  auto setup = PluginMachine::Make(builder.Build(), vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->machine().Start(), IsOk());
  ASSERT_TRUE(Eventually([&] { return setup->Word(word) > 100; }));
  ASSERT_THAT(setup->device().Arm({.address = word, .length = 4, .tag = "word"}), IsOk());
  for (int vcpu = 0; vcpu < vcpus; ++vcpu) {
    EXPECT_TRUE(Eventually([&] { return recorder.CountOnVcpu(vcpu) > 10; })) << "vCPU " << vcpu;
  }
}

TEST(Arming, AWatchArmedBeforeTheStartIsThereFromTheFirstInstruction) {
  const BareGuest guest = CountingGuest({.last = 20});
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, 1, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->device().Arm({.address = guest.words[0], .length = 4, .tag = "word"}), IsOk());
  ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
  EXPECT_EQ(recorder.count(), 20u);
}

// The last vCPU waits for its start while the watch is armed; then it is started, as a guest would.
TEST(Arming, AVcpuThatStartsLateIsCovered) {
  const int vcpus = TheSubject().vcpus;
  if (vcpus < 2) return;  // there is no other
  BareGuest guest = SpinningGuest(vcpus);
  guest.boot.started_vcpus = vcpus - 1;
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->machine().Start(), IsOk());
  ASSERT_TRUE(Eventually([&] { return setup->Word(guest.words[0]) > 100; }));
  const int late = vcpus - 1;
  ASSERT_THAT(setup->device().Arm({.address = guest.words[late], .length = 8, .tag = "late"}),
              IsOk());
  EXPECT_EQ(recorder.count(), 0u);
  ASSERT_NO_FATAL_FAILURE(setup->StartVcpu(late, guest.boot.entry));
  EXPECT_TRUE(Eventually([&] { return recorder.CountOnVcpu(late) > 10; }));
}

TEST(Arming, WhatCannotBeWatchedIsRefusedAndLeavesNothingArmed) {
  const DebugCapabilities capabilities = SubjectCapabilities();
  const int vcpus = TheSubject().vcpus;
  const BareGuest guest = SpinningAndHaltedGuest(vcpus);
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->machine().Start(), IsOk());
  ASSERT_TRUE(Eventually([&] { return setup->Word(guest.words[0]) > 100; }));
  DebugDevice& device = setup->device();
  const uint64_t word = guest.words[0];
  EXPECT_THAT(device.Arm({.address = kUnmapped, .length = 4, .tag = "unmapped"}),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(device.Arm({.address = word, .length = 0, .tag = "nothing"}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(device.Arm({.address = ~uint64_t{0} - 1, .length = 4, .tag = "wraps"}), Not(IsOk()));
  for (const auto& [offset, length] : {std::pair<uint64_t, uint32_t>{1, 4}, {4, 8}, {0, 3}, {0, 64}}) {
    const absl::StatusOr<WatchId> watch =
        device.Arm({.address = word + offset, .length = length, .tag = "odd"});
    if (capabilities.any_length) {
      ASSERT_THAT(watch, IsOk()) << length << " bytes at +" << offset;
      ASSERT_THAT(device.Disarm(*watch), IsOk());
    } else {
      EXPECT_THAT(watch, StatusIs(absl::StatusCode::kInvalidArgument))
          << length << " bytes at +" << offset;
    }
  }
  const size_t hits = recorder.count();
  const uint64_t value = setup->Word(word);
  ASSERT_TRUE(Eventually([&] { return setup->Word(word) > value + 100; }));
  EXPECT_EQ(recorder.count(), hits) << "something was left armed";
  EXPECT_THAT(device.Arm({.address = word, .length = 8, .tag = "counter"}), IsOk());
  EXPECT_TRUE(Eventually([&] { return recorder.count() > hits + 10; }));
}

// As many as the plugin has, then one too many; the others do not notice.
TEST(Arming, OneTooManyIsRefusedAndConsumesNothing) {
  const DebugCapabilities capabilities = SubjectCapabilities();
  constexpr int kMany = 40;
  const int count = WatchesToUse(kMany);
  constexpr uint32_t kLast = 20;
  const BareGuest guest = RoundRobinGuest(kLast, count + 1);
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, 1, &recorder);
  ASSERT_NE(setup, nullptr);
  std::vector<WatchId> watches;
  for (int i = 0; i < count; ++i) {
    const absl::StatusOr<WatchId> watch = setup->device().Arm(
        {.address = guest.words[i], .length = 4, .tag = absl::StrCat("word ", i)});
    ASSERT_THAT(watch, IsOk());
    watches.push_back(*watch);
  }
  if (count == capabilities.user_watches) {
    EXPECT_THAT(
        setup->device().Arm({.address = guest.words[count], .length = 4, .tag = "one too many"}),
        StatusIs(absl::StatusCode::kResourceExhausted));
  }
  EXPECT_THAT(setup->device().Arm({.address = guest.words[0], .length = 4, .tag = "twice"}),
              StatusIs(AnyOf(absl::StatusCode::kAlreadyExists, absl::StatusCode::kResourceExhausted)));
  ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
  for (WatchId watch : watches) EXPECT_EQ(recorder.CountOf(watch), kLast);
  EXPECT_EQ(recorder.count(), kLast * watches.size()) << "the word beside them is not watched";
}

// One watch is hit all the time; another of the same page comes and goes. Nothing is lost or doubled.
TEST(Arming, ConcurrentArmAndHitLoseNothing) {
  if (WatchesToUse(2) < 2) return;  // it has no second watch
  const int vcpus = TheSubject().vcpus;
  const BareGuest guest = SpinningGuest(vcpus);
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  const absl::StatusOr<WatchId> steady =
      setup->device().Arm({.address = guest.words[0], .length = 8, .tag = "steady"});
  ASSERT_THAT(steady, IsOk());
  ASSERT_THAT(setup->machine().Start(), IsOk());
  ASSERT_TRUE(Eventually([&] { return recorder.count() > 10; }));
  for (int round = 0; round < 20; ++round) {
    const absl::StatusOr<WatchId> other = setup->device().Arm(
        {.address = guest.words[vcpus - 1] + (vcpus == 1 ? 8 : 0), .length = 8, .tag = "other"});
    ASSERT_THAT(other, IsOk());
    ASSERT_THAT(setup->device().Disarm(*other), IsOk());
  }
  setup->machine().Stop();
  EXPECT_EQ(recorder.CountOf(*steady), setup->Word(guest.words[0]));
  uint64_t last = 0;
  for (const WatchHit& hit : recorder.hits()) {
    if (hit.watch != *steady) continue;
    ASSERT_EQ(hit.old_value, last);
    ASSERT_EQ(hit.new_value, last + 1);
    last = hit.new_value;
  }
}

TEST(Arming, AMovedWatchIsHitWhereItStandsNow) {
  constexpr uint32_t kLast = 30;
  const BareGuest guest = RoundRobinGuest(kLast, 2);
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, 1, &recorder);
  ASSERT_NE(setup, nullptr);
  const absl::StatusOr<WatchId> watch =
      setup->device().Arm({.address = guest.words[0], .length = 4, .tag = "moves"});
  ASSERT_THAT(watch, IsOk());
  const absl::Status moved = setup->target().WhileFrozen(
      [&] { return setup->device().Retarget(*watch, guest.words[1], 8); });
  const bool can_move = !absl::IsUnimplemented(moved);
  if (can_move) {
    ASSERT_THAT(moved, IsOk());
    EXPECT_THAT(setup->target().WhileFrozen(
                    [&] { return setup->device().Retarget(*watch, kUnmapped, 8); }),
                Not(IsOk()))
        << "and stays where it was";
  }
  ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
  ASSERT_EQ(recorder.count(), kLast);
  const int word = can_move ? 1 : 0;
  for (uint32_t i = 0; i < kLast; ++i) {
    const WatchHit hit = recorder.hits()[i];
    ASSERT_EQ(hit.watch, *watch);
    ASSERT_EQ(hit.address, guest.words[word]);
    ASSERT_EQ(hit.length, can_move ? 8u : 4u);
    ASSERT_EQ(hit.old_value, i);
    ASSERT_EQ(hit.new_value, i + 1);
  }
}

TEST(Arming, AMachineMayStopWhileWatchesAreArmedAndHit) {
  const int vcpus = TheSubject().vcpus;
  const BareGuest guest = SpinningGuest(vcpus);
  for (int round = 0; round < 3; ++round) {
    Recorder recorder;
    auto setup = PluginMachine::Make(guest.boot, vcpus, &recorder);
    ASSERT_NE(setup, nullptr);
    const absl::StatusOr<WatchId> watch = setup->device().Arm(
        {.address = guest.words[vcpus - 1], .length = 8, .tag = "counter"});
    ASSERT_THAT(watch, IsOk());
    ASSERT_THAT(setup->machine().Start(), IsOk());
    ASSERT_TRUE(Eventually([&] { return recorder.count() > 10; }));
    setup->machine().Stop();
    const size_t hits = recorder.count();
    EXPECT_EQ(hits, setup->Word(guest.words[vcpus - 1]));
    if (round == 1) {
      EXPECT_THAT(setup->device().Disarm(*watch), IsOk()) << "of a machine that has stopped";
    }
  }
}

}  // namespace
}  // namespace watchsnap::conformance
