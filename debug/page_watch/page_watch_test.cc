// What page_watch does beyond what every plugin must (//debug:conformance), on one vCPU: on this machine's
// own /dev/kvm, and in the emulated host.
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "debug/debug_dispatcher.h"
#include "debug/hit_sink.h"
#include "debug/machine_debug_target.h"
#include "debug/page_watch/page_watch.h"
#include "debug/page_watch/self_test.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/bare_guest/bare_guests.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

struct Recorder : public HitSink {
  void OnHits(int, const WatchHits& hits) override {
    for (int i = 0; i < hits.count; ++i) all.push_back(hits.hits[i]);
  }
  std::vector<WatchHit> all;  // of one vCPU
};

class PageWatchTest : public ::testing::Test {
 protected:
  ~PageWatchTest() override {
    if (machine_ != nullptr) machine_->Stop();
  }
  void Make(const BareBoot& boot, int vcpus = 1) {
    MachineConfig config;
    config.vcpus = vcpus;
    config.memory_bytes = 4 << 20;
    config.boot = boot;
    config.devices.push_back(BareGuestPowerPort());
    config.observer = &dispatcher_;
    absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
    ASSERT_THAT(machine, IsOk());
    machine_ = *std::move(machine);
    target_ = std::make_unique<MachineDebugTarget>(machine_.get());
    plugin_ = std::make_unique<PageWatch>(*target_, PageWayFor(vcpus), PageWatchWorksHere);
    dispatcher_.Connect(plugin_.get(), &recorder_);
  }
  RunEnd Run() {
    EXPECT_THAT(machine_->Start(), IsOk());
    const RunEnd end = machine_->Wait(absl::Now() + absl::Seconds(60));
    machine_->Stop();
    return end;
  }
  absl::StatusOr<WatchId> Arm(uint64_t address, uint32_t length) {
    return plugin_->Arm({.address = address, .length = length, .tag = "watched"});
  }

  DebugDispatcher dispatcher_;
  Recorder recorder_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineDebugTarget> target_;
  std::unique_ptr<PageWatch> plugin_;
};

TEST_F(PageWatchTest, AStoreThroughAnotherMappingOfThePageIsAHit) {
  BareGuestBuilder builder;
  const uint64_t word = builder.AllocateWord();
  builder.Mov(Reg::kRbx, BareGuestBuilder::GpaOf(word));  // the map at 0
  builder.StoreImm(Reg::kRbx, 42, 4);
  const uint64_t next_pc = builder.NextAddress();
  builder.PowerOff();
  ASSERT_NO_FATAL_FAILURE(Make(builder.Build()));
  ASSERT_THAT(Arm(word, 4), IsOk());
  EXPECT_EQ(Run().kind, RunEndKind::kPowerOff);
  ASSERT_EQ(recorder_.all.size(), 1u);
  EXPECT_EQ(recorder_.all[0].address, word);
  EXPECT_EQ(recorder_.all[0].new_value, 42u);
  EXPECT_EQ(recorder_.all[0].next_pc, next_pc);
}

TEST_F(PageWatchTest, WritesOfTheVmmDoNotTrip) {
  BareGuestBuilder builder;
  const uint64_t word = builder.AllocateWord();
  builder.Mov(Reg::kRbx, word);
  builder.Inc(Reg::kRbx, 4);
  builder.PowerOff();
  ASSERT_NO_FATAL_FAILURE(Make(builder.Build()));
  ASSERT_THAT(Arm(word, 4), IsOk());
  ASSERT_THAT(machine_->memory().WriteObject<uint32_t>(BareGuestBuilder::GpaOf(word), 7), IsOk());
  EXPECT_EQ(Run().kind, RunEndKind::kPowerOff);
  ASSERT_EQ(recorder_.all.size(), 1u);
  EXPECT_EQ(recorder_.all[0].old_value, 7u) << "what stood there when the guest wrote";
  EXPECT_EQ(recorder_.all[0].new_value, 8u);
}

TEST_F(PageWatchTest, StoresToTheRestOfThePageGoOnAndAreCounted) {
  const BareGuest guest = RoundRobinGuest(100, 3);
  ASSERT_NO_FATAL_FAILURE(Make(guest.boot));
  ASSERT_THAT(Arm(guest.words[1], 4), IsOk());
  EXPECT_EQ(Run().kind, RunEndKind::kPowerOff);
  EXPECT_EQ(recorder_.all.size(), 100u);
  EXPECT_EQ(plugin_->emulated_stores() + plugin_->stepped_stores(), 300u);
  EXPECT_THAT(plugin_->Summary(), Contains(HasSubstr("300 exits")));
}

// KVM emulates no cmpxchg16b. Where the processor can run it, it is stepped natively; a software KVM
// cannot do that either, and then the run ends and says which instruction it was.
TEST_F(PageWatchTest, AStoreThatCannotBeEmulatedIsSteppedOrNamed) {
  BareGuestBuilder builder;
  const uint64_t word = builder.AllocateWord();
  builder.Mov(Reg::kRdi, word);
  for (Reg zero : {Reg::kRax, Reg::kRdx}) builder.Mov(zero, 0);
  builder.Mov(Reg::kRbx, 0x11);
  builder.Mov(Reg::kRcx, 0x22);
  const uint64_t pc = builder.NextAddress();
  builder.Raw({0xf0, 0x48, 0x0f, 0xc7, 0x0f});  // lock cmpxchg16b [rdi]
  const uint64_t next_pc = builder.NextAddress();
  builder.PowerOff();
  ASSERT_NO_FATAL_FAILURE(Make(builder.Build()));
  ASSERT_THAT(Arm(word, 16), IsOk());
  const RunEnd end = Run();
  if (end.kind == RunEndKind::kPowerOff) {
    ASSERT_EQ(recorder_.all.size(), 1u);
    EXPECT_EQ(recorder_.all[0].writer_pc, pc);
    EXPECT_EQ(recorder_.all[0].next_pc, next_pc);
    EXPECT_EQ(recorder_.all[0].stored_bytes, 16u);
    EXPECT_EQ(recorder_.all[0].new_value, 0x11u) << "the first 8 bytes";
    EXPECT_EQ(machine_->memory().ReadObject<uint64_t>(BareGuestBuilder::GpaOf(word) + 8).value(),
              0x22u);
    EXPECT_EQ(plugin_->stepped_stores(), 1u);
    return;
  }
  EXPECT_EQ(end.kind, RunEndKind::kInternalError);
  EXPECT_THAT(end.detail, AllOf(HasSubstr("page_watch"), HasSubstr("bytes f0480fc70f: lock cmpxchg16b"),
                                HasSubstr("stepping it natively did not go either")));
  EXPECT_TRUE(recorder_.all.empty());
}

// The guest points the watched address at another page, and writes there.
TEST_F(PageWatchTest, APageThatTheGuestRemapsIsNoticedInTheSummary) {
  constexpr uint64_t kMapped = 0x4000'0000'0000;  // of its own, below a table entry of its own
  constexpr uint64_t kTables = 0x200000;          // three levels below the top one
  BareGuestBuilder builder;
  const uint64_t word = builder.AllocateWord();
  builder.Mov(Reg::kRbx, kTables + 0x2000);  // the lowest table: its first entry moves on by a page
  builder.Load(Reg::kRax, Reg::kRbx, 8);
  builder.AddImm(Reg::kRax, 0x1000);
  builder.Store(Reg::kRbx, Reg::kRax, 8);
  builder.Mov(Reg::kRbx, kMapped);
  builder.Raw({0x0f, 0x01, 0x3b});  // invlpg [rbx]
  builder.StoreImm(Reg::kRbx, 5, 4);
  builder.PowerOff();
  ASSERT_NO_FATAL_FAILURE(Make(builder.Build()));
  GuestMemory& memory = machine_->memory();
  constexpr uint64_t kEntry = 3;  // present, writable (SDM vol. 3A §4.5)
  const uint64_t top = machine_->vcpu(0).registers().sregs.cr3 & ~uint64_t{0xfff};
  ASSERT_THAT(memory.WriteObject<uint64_t>(top + 8 * (kMapped >> 39), kTables | kEntry), IsOk());
  ASSERT_THAT(memory.WriteObject<uint64_t>(kTables, (kTables + 0x1000) | kEntry), IsOk());
  ASSERT_THAT(memory.WriteObject<uint64_t>(kTables + 0x1000, (kTables + 0x2000) | kEntry), IsOk());
  ASSERT_THAT(memory.WriteObject<uint64_t>(kTables + 0x2000, BareGuestBuilder::GpaOf(word) | kEntry),
              IsOk());
  ASSERT_THAT(Arm(kMapped, 4), IsOk());
  EXPECT_THAT(plugin_->Summary(), Not(Contains(HasSubstr("elsewhere"))));
  EXPECT_EQ(Run().kind, RunEndKind::kPowerOff);
  EXPECT_TRUE(recorder_.all.empty()) << "the page that was watched was not written";
  EXPECT_THAT(plugin_->Summary(), Contains(HasSubstr("mapped its address elsewhere")));
}

TEST_F(PageWatchTest, SeveralVcpusAreWatchedOrRefusedWithTheReason) {
  const BareGuest guest = SpinningAndHaltedGuest(2);
  ASSERT_NO_FATAL_FAILURE(Make(guest.boot, 2));
  const absl::StatusOr<WatchId> watch = Arm(guest.words[0], 8);
  EXPECT_EQ(watch.ok(), PageWatchWorksHere(PageWay::kHostProtection).ok());
  if (!watch.ok()) {
    EXPECT_THAT(watch.status(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                         AllOf(HasSubstr("several vCPUs"), HasSubstr("hw_watch"))));
  }
  ASSERT_THAT(machine_->Start(), IsOk());
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (machine_->memory().ReadObject<uint64_t>(BareGuestBuilder::GpaOf(guest.words[0])).value() <
         20) {
    ASSERT_LT(absl::Now(), until) << "the guest does not run";
    absl::SleepFor(absl::Milliseconds(1));
  }
  machine_->Stop();
  EXPECT_EQ(recorder_.all.empty(), !watch.ok());
}

}  // namespace
}  // namespace watchsnap
