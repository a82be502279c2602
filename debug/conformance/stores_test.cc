// Stores: of every shape, exactly once, with the right values, at the right watch.
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "debug/conformance/harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::conformance {
namespace {

using ::absl_testing::IsOk;

// vCPU 0 runs the guest; the others of the machine wait for a start that does not come.
BareBoot OnOneVcpu(BareBoot boot) {
  boot.started_vcpus = 1;
  return boot;
}

// One writer, ten thousand stores, on a machine of as many vCPUs as are asked for.
TEST(Stores, TenThousandAreTenThousandExactPairs) {
  constexpr uint32_t kLast = 10000;
  const BareGuest guest = CountingGuest({.last = kLast});
  Recorder recorder;
  auto setup = PluginMachine::Make(OnOneVcpu(guest.boot), TheSubject().vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  const absl::StatusOr<WatchId> watch =
      setup->device().Arm({.address = guest.words[0], .length = 4, .tag = "word"});
  ASSERT_THAT(watch, IsOk());
  ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
  const std::vector<WatchHit> hits = recorder.hits();
  ASSERT_EQ(hits.size(), kLast);
  for (uint32_t i = 0; i < kLast; ++i) {
    ASSERT_TRUE(hits[i].values_known);
    ASSERT_EQ(hits[i].old_value, i);
    ASSERT_EQ(hits[i].new_value, i + 1);
    ASSERT_EQ(hits[i].watch, *watch);
    ASSERT_EQ(hits[i].address, guest.words[0]);
    ASSERT_EQ(hits[i].length, 4u);
    ASSERT_EQ(hits[i].vcpu, 0);
    ASSERT_FALSE(hits[i].reserved_slot);
    ASSERT_EQ(hits[i].next_pc, guest.stores[0].next_pc);
    ASSERT_TRUE(hits[i].writer_pc == 0 || hits[i].writer_pc == guest.stores[0].pc);
  }
}

// All vCPUs write to one word in turns.
TEST(Stores, WritersThatTakeTurnsGiveExactPairs) {
  const int vcpus = TheSubject().vcpus;
  constexpr uint32_t kLast = 320;
  constexpr int kTurn = 16;
  const BareGuest guest = CountingGuest({.last = kLast, .vcpus = vcpus, .turn = kTurn});
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->device().Arm({.address = guest.words[0], .length = 4, .tag = "word"}), IsOk());
  ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
  const std::vector<WatchHit> hits = recorder.hits();
  ASSERT_EQ(hits.size(), kLast);
  for (uint32_t i = 0; i < kLast; ++i) {
    ASSERT_EQ(hits[i].old_value, i);
    ASSERT_EQ(hits[i].new_value, i + 1);
    ASSERT_EQ(hits[i].vcpu, static_cast<int>(i) / kTurn % vcpus);
  }
}

TEST(Stores, EveryShapeIsOneHit) {
  for (StoreKind kind : kAllStoreKinds) {
    SCOPED_TRACE(StoreKindName(kind));
    const uint32_t last = kind == StoreKind::kLockBts4 ? 1 : 8;
    const BareGuest guest = CountingGuest({.last = last, .kind = kind});
    Recorder recorder;
    auto setup = PluginMachine::Make(OnOneVcpu(guest.boot), TheSubject().vcpus, &recorder);
    ASSERT_NE(setup, nullptr);
    ASSERT_THAT(setup->device().Arm({.address = guest.words[0], .length = 4, .tag = "word"}),
                IsOk());
    ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
    const std::vector<WatchHit> hits = recorder.hits();
    ASSERT_EQ(hits.size(), last);
    for (uint32_t i = 0; i < last; ++i) {
      EXPECT_EQ(hits[i].old_value, i);
      EXPECT_EQ(hits[i].new_value, i + 1);
      EXPECT_EQ(hits[i].next_pc, guest.stores[0].next_pc);
      EXPECT_TRUE(hits[i].writer_pc == 0 || hits[i].writer_pc == guest.stores[0].pc);
    }
    EXPECT_EQ(setup->Word(guest.words[0]) & 0xffffffff, last);
  }
}

// Watches of every length, hit by stores that are wider, and by stores that reach in from outside.
TEST(Stores, WatchesOfEveryLengthAreHitByAnyByteOfThem) {
  struct Case {
    uint64_t offset;  // of the watch
    uint32_t length;
    uint64_t store;   // 4 bytes there
    bool hit;
  };
  std::vector<Case> cases = {{16, 1, 16, true},  {16, 1, 13, true},  {16, 1, 12, false},
                             {16, 2, 17, true},  {16, 4, 14, true},  {16, 4, 18, true},
                             {16, 4, 20, false}, {16, 4, 12, false}, {16, 8, 13, true},
                             {16, 8, 23, true},  {16, 8, 24, false}, {16, 8, 12, false}};
  if (SubjectCapabilities().any_length) {
    // Unaligned, odd, long; and one that crosses into the next page.
    for (const Case& more : std::vector<Case>{{17, 4, 20, true},
                                              {17, 4, 21, false},
                                              {5, 3, 7, true},
                                              {5, 3, 8, false},
                                              {16, 40, 52, true},
                                              {16, 40, 56, false},
                                              {4094, 4, 4096, true},
                                              {4094, 4, 4092, true},
                                              {4094, 4, 4094, true},
                                              {4094, 4, 4098, false},
                                              {0, 8192, 4094, true}}) {
      cases.push_back(more);
    }
  }
  for (const Case& c : cases) {
    SCOPED_TRACE(absl::StrCat(c.length, " bytes at +", c.offset, ", a store at +", c.store));
    BareGuestBuilder builder;
    const uint64_t base = builder.AllocateWord();
    builder.Mov(Reg::kRbx, base + c.store);
    builder.StoreImm(Reg::kRbx, 0x04030201, 4);
    const uint64_t next_pc = builder.NextAddress();
    builder.PowerOff();
    Recorder recorder;
    auto setup = PluginMachine::Make(OnOneVcpu(builder.Build()), TheSubject().vcpus, &recorder);
    ASSERT_NE(setup, nullptr);
    ASSERT_THAT(
        setup->device().Arm({.address = base + c.offset, .length = c.length, .tag = "watched"}),
        IsOk());
    ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
    ASSERT_EQ(recorder.count(), c.hit ? 1u : 0u);
    if (!c.hit) continue;
    const WatchHit hit = recorder.hits()[0];
    EXPECT_EQ(hit.next_pc, next_pc);
    EXPECT_EQ(hit.address, base + c.offset);
    // What of 01 02 03 04 lies in the bytes that the values show.
    uint64_t first = c.offset;
    uint32_t shown = c.length;
    if (c.length > 8) {
      ASSERT_NE(hit.stored_bytes, 0u);
      first = hit.stored_address - base;
      shown = std::min<uint32_t>(hit.stored_bytes, 8);
    }
    uint64_t value = 0;
    for (uint32_t i = 0; i < shown; ++i) {
      const uint64_t at = first + i;
      if (at >= c.store && at < c.store + 4) value |= (at - c.store + 1) << (8 * i);
    }
    EXPECT_EQ(hit.old_value, 0u);
    EXPECT_EQ(hit.new_value, value);
  }
}

TEST(Stores, ACmpxchgThatFailsIsAHitWithOldEqualToNew) {
  for (int bytes : {4, 8}) {
    BareGuestBuilder builder;
    const uint64_t word = builder.AllocateWord();
    builder.Mov(Reg::kRbx, word);
    builder.Mov(Reg::kRax, 99);
    builder.Mov(Reg::kRcx, 5);
    builder.LockCmpxchg(Reg::kRbx, Reg::kRcx, bytes);
    const uint64_t next_pc = builder.NextAddress();
    builder.PowerOff();
    Recorder recorder;
    auto setup = PluginMachine::Make(OnOneVcpu(builder.Build()), TheSubject().vcpus, &recorder);
    ASSERT_NE(setup, nullptr);
    setup->SetWord(word, 7);
    ASSERT_THAT(setup->device().Arm({.address = word, .length = 4, .tag = "word"}), IsOk());
    ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
    ASSERT_EQ(recorder.count(), 1u);
    EXPECT_EQ(recorder.hits()[0].old_value, 7u);
    EXPECT_EQ(recorder.hits()[0].new_value, 7u);
    EXPECT_EQ(recorder.hits()[0].next_pc, next_pc);
    EXPECT_EQ(setup->Word(word), 7u);
  }
}

// Repeated string stores may be told once, or each time they stop. What they did must be right, the
// values chain, and each hit lies at the instruction or behind it.
TEST(Stores, ARepeatedStoreOverAWatchIsSeenAndDoesItsWork) {
  constexpr uint32_t kBytes = 64;
  for (bool movs : {false, true}) {
    SCOPED_TRACE(movs ? "rep movsb" : "rep stosb");
    BareGuestBuilder builder;
    const uint64_t source = builder.AllocateWord();
    const uint64_t before = builder.AllocateWord();
    const uint64_t area = builder.AllocateWord();
    const uint64_t after = builder.AllocateWord();
    builder.Mov(Reg::kRsi, source);
    builder.Mov(Reg::kRdi, area);
    builder.Mov(Reg::kRax, 0x5a);
    builder.Mov(Reg::kRcx, kBytes);
    const uint64_t pc = builder.NextAddress();
    builder.Raw({0xf3, movs ? 0xa4 : 0xaa});
    const uint64_t next_pc = builder.NextAddress();
    builder.PowerOff();
    Recorder recorder;
    auto setup = PluginMachine::Make(OnOneVcpu(builder.Build()), TheSubject().vcpus, &recorder);
    ASSERT_NE(setup, nullptr);
    std::vector<uint8_t> bytes(kBytes, 0x5a);
    ASSERT_THAT(setup->machine().memory().Write(BareGuestBuilder::GpaOf(source), bytes), IsOk());
    ASSERT_THAT(setup->device().Arm({.address = area + 32, .length = 4, .tag = "inside"}), IsOk());
    ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
    EXPECT_THAT(setup->machine().memory().Read(BareGuestBuilder::GpaOf(area), absl::MakeSpan(bytes)),
                IsOk());
    EXPECT_EQ(bytes, std::vector<uint8_t>(kBytes, 0x5a));
    EXPECT_EQ(setup->Word(before), 0u);
    EXPECT_EQ(setup->Word(after), 0u);
    const std::vector<WatchHit> hits = recorder.hits();
    ASSERT_FALSE(hits.empty());
    EXPECT_LE(hits.size(), 4u);
    uint64_t value = 0;
    for (const WatchHit& hit : hits) {
      EXPECT_EQ(hit.old_value, value);
      EXPECT_TRUE(hit.next_pc == pc || hit.next_pc == next_pc) << std::hex << hit.next_pc;
      value = hit.new_value;
    }
    EXPECT_EQ(value, 0x5a5a5a5au);
  }
}

// Stores in turns to several words, of one page: each to its own watch, in order.
TEST(Stores, SeveralWatchesAreToldApart) {
  constexpr uint32_t kLast = 100;
  const int count = WatchesToUse(9);
  const BareGuest guest = RoundRobinGuest(kLast, count);
  Recorder recorder;
  auto setup = PluginMachine::Make(OnOneVcpu(guest.boot), TheSubject().vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  std::vector<WatchId> watches;
  for (int i = 0; i < count; ++i) {
    const absl::StatusOr<WatchId> watch = setup->device().Arm(
        {.address = guest.words[i], .length = 4, .tag = absl::StrCat("word ", i)});
    ASSERT_THAT(watch, IsOk());
    watches.push_back(*watch);
  }
  ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
  const std::vector<WatchHit> hits = recorder.hits();
  ASSERT_EQ(hits.size(), kLast * count);
  for (size_t i = 0; i < hits.size(); ++i) {
    const size_t word = i % count;
    ASSERT_EQ(hits[i].watch, watches[word]);
    ASSERT_EQ(hits[i].address, guest.words[word]);
    ASSERT_EQ(hits[i].old_value, i / count);
    ASSERT_EQ(hits[i].new_value, i / count + 1);
    ASSERT_EQ(hits[i].next_pc, guest.stores[word].next_pc);
  }
}

// The exit-kind trigger's watch: a slot of its own, or one more watch that says so.
TEST(Stores, TheReservedWatchIsToldAsSuch) {
  constexpr uint32_t kLast = 50;
  const BareGuest guest = RoundRobinGuest(kLast, 2);
  Recorder recorder;
  auto setup = PluginMachine::Make(OnOneVcpu(guest.boot), TheSubject().vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  const absl::StatusOr<WatchId> reserved = setup->device().Arm(
      {.address = guest.words[0], .length = 4, .tag = "trigger", .reserved_slot = true});
  ASSERT_THAT(reserved, IsOk());
  const absl::StatusOr<WatchId> user =
      setup->device().Arm({.address = guest.words[1], .length = 4, .tag = "word"});
  ASSERT_THAT(user, IsOk());
  ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
  EXPECT_EQ(recorder.CountOf(*reserved), kLast);
  EXPECT_EQ(recorder.CountOf(*user), kLast);
  for (const WatchHit& hit : recorder.hits()) EXPECT_EQ(hit.reserved_slot, hit.watch == *reserved);
}

// All vCPUs increment one word with LOCK, as they like: it stays atomic, and each store is a hit.
TEST(Stores, LockedIncrementsOfTwoVcpusStayAtomic) {
  const int vcpus = TheSubject().vcpus;
  if (vcpus < 2) return;  // nothing to be atomic against
  constexpr uint32_t kEach = 20000;
  const BareGuest guest = StormGuest(vcpus, kEach, 1);
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, vcpus, &recorder);
  ASSERT_NE(setup, nullptr);
  ASSERT_THAT(setup->device().Arm({.address = guest.words[0], .length = 4, .tag = "word"}), IsOk());
  ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
  EXPECT_EQ(setup->Word(guest.words[0]), kEach * vcpus);
  EXPECT_EQ(recorder.count(), kEach * vcpus) << "every store is a hit";
  uint64_t sum = 0;
  for (const WatchHit& hit : recorder.hits()) sum += hit.new_value - hit.old_value;
  EXPECT_EQ(sum, kEach * vcpus) << "every change is in one hit, whichever";
}

}  // namespace
}  // namespace watchsnap::conformance
