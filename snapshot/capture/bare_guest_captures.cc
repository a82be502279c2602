// Bare guests under hardware watches, all the way to the sidecar: every store is a hit, every hit a
// capture with its old and new value and the address of its store. Runs in the KVM host
// (bare_guest_hw_watch_captures_test); this machine's own /dev/kvm may not deliver watchpoints.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "debug/debug_dispatcher.h"
#include "debug/decode/store_shape.h"
#include "debug/machine_debug_target.h"
#include "debug/registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/capture/evidence.h"
#include "snapshot/capture/freeze_coordinator.h"
#include "snapshot/capture/renderer.h"
#include "snapshot/report/sidecar_reader.h"
#include "snapshot/session/report_store.h"
#include "testing/bare_guest/bare_guest_builder.h"
#include "testing/bare_guest/bare_guests.h"
#include "vmm/machine.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;

// A bare guest's program as one function.
class BareGuestView : public GuestView {
 public:
  explicit BareGuestView(Machine* machine) : machine_(machine) {}
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override {
    return machine_->memory().Read(BareGuestBuilder::GpaOf(address), out);
  }
  std::optional<TextSymbol> Symbolize(uint64_t address) const override {
    constexpr uint64_t kStart = BareGuestBuilder::kVirtualOffset + BareGuestBuilder::kLoadGpa;
    return TextSymbol{.name = "guest", .address = kStart, .offset = address - kStart, .size = 0x10000};
  }

 private:
  Machine* const machine_;
};

// One run of a bare guest with some of its words watched.
class BareRun {
 public:
  BareRun(const BareGuest& guest, int vcpus, const std::vector<std::string>& tags,
          WatchOptions options = WatchOptions::Unlimited()) {
    MachineConfig config;
    config.vcpus = vcpus;
    config.memory_bytes = 16 << 20;
    config.boot = guest.boot;
    config.devices = {BareGuestPowerPort()};
    config.observer = &dispatcher_;
    absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
    EXPECT_THAT(machine.status(), IsOk());
    machine_ = *std::move(machine);
    target_ = std::make_unique<MachineDebugTarget>(machine_.get());
    absl::StatusOr<std::unique_ptr<DebugDevice>> device = CreateDebugDevice("hw_watch", *target_);
    EXPECT_THAT(device.status(), IsOk());
    device_ = *std::move(device);
    pool_ = std::make_unique<EvidencePool>(64, vcpus);
    coordinator_ = std::make_unique<FreezeCoordinator>(
        &machine_->barrier(), target_.get(), pool_.get(),
        FreezeCoordinator::Options{.buffer_wait = absl::Seconds(60)});
    const char* scratch = std::getenv("TEST_TMPDIR");
    reports_ = std::make_unique<ReportStore>(scratch != nullptr ? scratch : "/tmp", "bare",
                                             std::make_shared<SnapshotBridge>(), nullptr);
    renderer_ = std::make_unique<Renderer>(
        coordinator_.get(), pool_.get(),
        [this](absl::Span<RenderedReport> rendered) {
          std::vector<Report> reports;
          for (RenderedReport& one : rendered) reports.push_back(std::move(one.report));
          const std::vector<absl::Status> kept = reports_->AddAll(std::move(reports));
          for (size_t i = 0; i < kept.size(); ++i) rendered[i].kept = kept[i];
        });
    view_ = std::make_unique<BareGuestView>(machine_.get());
    renderer_->SetGuest(view_.get(), GuestClock());
    dispatcher_.Connect(device_.get(), coordinator_.get());
    for (size_t i = 0; i < tags.size(); ++i) {
      EXPECT_THAT(reports_->Open(tags[i]), IsOk());
      absl::StatusOr<int> index = coordinator_->Add(
          {.symbol = tags[i], .address = guest.words[i], .watched_bytes = 4, .symbol_bytes = 4},
          options);
      EXPECT_THAT(index.status(), IsOk());
      EXPECT_THAT(
          device_->Arm({.address = guest.words[i], .length = 4, .tag = tags[i]}).status(), IsOk());
      index_[tags[i]] = *index;
    }
    EXPECT_THAT(machine_->Start(), IsOk());
    end_ = machine_->Wait(absl::Now() + absl::Minutes(3));
    machine_->Stop();
    renderer_->Stop();
    std::map<std::string, WatchCounters> counters;
    for (const auto& [tag, index] : index_) counters[tag] = coordinator_->counters(index);
    EXPECT_THAT(reports_->Finish(counters), IsOk());
    for (const std::string& path : reports_->sidecar_paths()) {
      absl::StatusOr<Sidecar> sidecar = ReadSidecar(path);
      EXPECT_THAT(sidecar.status(), IsOk());
      if (sidecar.ok() && !sidecar->reports.empty()) {
        const std::string tag = sidecar->reports[0].tag;
        sidecars_[tag] = *std::move(sidecar);
      }
    }
  }

  const RunEnd& end() const { return end_; }
  const Sidecar& sidecar(const std::string& tag) { return sidecars_[tag]; }
  Machine& machine() { return *machine_; }

 private:
  DebugDispatcher dispatcher_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineDebugTarget> target_;
  std::unique_ptr<DebugDevice> device_;
  std::unique_ptr<EvidencePool> pool_;
  std::unique_ptr<FreezeCoordinator> coordinator_;
  std::unique_ptr<ReportStore> reports_;
  std::unique_ptr<BareGuestView> view_;
  std::unique_ptr<Renderer> renderer_;
  std::map<std::string, int> index_;
  std::map<std::string, Sidecar> sidecars_;
  RunEnd end_;
};

void ExpectEveryPair(const Sidecar& sidecar, uint64_t last) {
  ASSERT_EQ(sidecar.reports.size(), last);
  for (uint64_t i = 0; i < last; ++i) {
    const Report& report = sidecar.reports[i];
    ASSERT_EQ(report.seq, i);
    ASSERT_EQ(report.trigger.old_value, i) << "capture " << i;
    ASSERT_EQ(report.trigger.new_value, i + 1) << "capture " << i;
  }
  ASSERT_TRUE(sidecar.summary.has_value());
  EXPECT_EQ(sidecar.summary->hits, last);
  EXPECT_EQ(sidecar.summary->captured, last);
  EXPECT_EQ(sidecar.summary->suppressed + sidecar.summary->lost + sidecar.summary->coalesced, 0u);
}

void ExpectWritersAreStores(const Sidecar& sidecar, Machine& machine,
                            std::set<uint64_t> known_stores) {
  std::set<uint64_t> writers;
  for (const Report& report : sidecar.reports) {
    ASSERT_TRUE(report.trigger.writer.has_value());
    ASSERT_TRUE(report.trigger.writer->address.has_value());
    writers.insert(*report.trigger.writer->address);
  }
  EXPECT_EQ(writers, known_stores);
  for (uint64_t address : writers) {
    std::vector<uint8_t> bytes(kMaxInstructionLength);
    ASSERT_THAT(machine.memory().Read(BareGuestBuilder::GpaOf(address), absl::MakeSpan(bytes)),
                IsOk());
    EXPECT_TRUE(IsStoringInstructionAt(bytes)) << std::hex << address;
  }
}

class CountingTest : public ::testing::TestWithParam<int> {};

TEST_P(CountingTest, TenThousandStoresAreTenThousandPairs) {
  const BareGuest guest = CountingGuest({.last = 10'000, .vcpus = GetParam()});
  BareRun run(guest, GetParam(), {"counter"});
  EXPECT_EQ(run.end().kind, RunEndKind::kPowerOff) << run.end().detail;
  ExpectEveryPair(run.sidecar("counter"), 10'000);
  ExpectWritersAreStores(run.sidecar("counter"), run.machine(), {guest.stores[0].pc});
  std::set<int> vcpus;
  for (const Report& report : run.sidecar("counter").reports) {
    vcpus.insert(*report.trigger.vcpu);
    ASSERT_EQ(report.vcpus.size(), static_cast<size_t>(GetParam()));
    // The vCPU that hit stands right behind its store.
    ASSERT_EQ(report.vcpus[*report.trigger.vcpu].RegisterValue("rip"), guest.stores[0].next_pc);
  }
  EXPECT_EQ(vcpus.size(), static_cast<size_t>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Vcpus, CountingTest, ::testing::Values(1, 2));

TEST(BareGuestCapturesTest, ThreeWatchesEachSeeTheirOwnStores) {
  const BareGuest guest = RoundRobinGuest(500, 3);
  const std::vector<std::string> tags = {"a", "b", "c"};
  BareRun run(guest, 1, tags);
  std::set<int> slots;
  for (size_t i = 0; i < tags.size(); ++i) {
    ExpectEveryPair(run.sidecar(tags[i]), 500);
    ExpectWritersAreStores(run.sidecar(tags[i]), run.machine(), {guest.stores[i].pc});
    for (const Report& report : run.sidecar(tags[i]).reports) {
      ASSERT_EQ(report.trigger.address, guest.words[i]);
      slots.insert(*report.trigger.slot);
    }
  }
  EXPECT_EQ(slots, (std::set<int>{1, 2, 3}));
}

uint32_t WordOf(Machine& machine, uint64_t address) {
  uint32_t value = 0;
  EXPECT_THAT(machine.memory().Read(BareGuestBuilder::GpaOf(address),
                                    absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), 4)),
              IsOk());
  return value;
}

// Three counters, written by two vCPUs at once as fast as they can: no write goes unseen, whatever becomes of
// its hit.
TEST(BareGuestCapturesTest, AStormOfWritesIsAccountedForToTheLastHit) {
  constexpr uint32_t kEach = 400;
  constexpr int kVcpus = 2;
  const BareGuest guest = StormGuest(kVcpus, kEach, 3);
  const std::vector<std::string> tags = {"a", "b", "c"};
  BareRun run(guest, kVcpus, tags);
  EXPECT_EQ(run.end().kind, RunEndKind::kPowerOff) << run.end().detail;
  for (size_t i = 0; i < tags.size(); ++i) {
    EXPECT_EQ(WordOf(run.machine(), guest.words[i]), kVcpus * kEach);
    const Sidecar& sidecar = run.sidecar(tags[i]);
    ASSERT_TRUE(sidecar.summary.has_value());
    EXPECT_EQ(sidecar.summary->hits, kVcpus * kEach) << tags[i];
    EXPECT_EQ(sidecar.summary->captured, kVcpus * kEach) << tags[i];
    EXPECT_EQ(sidecar.reports.size(), kVcpus * kEach) << tags[i];
    EXPECT_THAT(CheckConsistent(*sidecar.summary), IsOk());
  }
}

TEST(BareGuestCapturesTest, AStormPastEveryBudgetIsAccountedForToo) {
  constexpr uint32_t kEach = 3000;
  constexpr int kVcpus = 2;
  const BareGuest guest = StormGuest(kVcpus, kEach, 3);
  const std::vector<std::string> tags = {"a", "b", "c"};
  BareRun run(guest, kVcpus, tags,
              {.max_captures = 50,
               .max_frozen_permille = 100,
               .when = WatchCondition::Masked(1, 1),
               .every_nth = 5,
               .queue_full = QueueFull::kCount});
  EXPECT_EQ(run.end().kind, RunEndKind::kPowerOff) << run.end().detail;
  for (size_t i = 0; i < tags.size(); ++i) {
    EXPECT_EQ(WordOf(run.machine(), guest.words[i]), kVcpus * kEach);
    const Sidecar& sidecar = run.sidecar(tags[i]);
    ASSERT_TRUE(sidecar.summary.has_value());
    EXPECT_EQ(sidecar.summary->hits, kVcpus * kEach) << tags[i];
    EXPECT_LE(sidecar.summary->captured, 50u);
    EXPECT_GT(sidecar.summary->captured, 0u);
    EXPECT_GT(sidecar.summary->suppressed_by.condition, 0u);
    EXPECT_GT(sidecar.summary->suppressed_by.every_nth, 0u);
    EXPECT_THAT(CheckConsistent(*sidecar.summary), IsOk());
    for (const Report& report : sidecar.reports) {
      EXPECT_EQ(report.trigger.new_value.value_or(0) % 2, 1u);
    }
  }
}

TEST(BareGuestCapturesTest, PastItsBudgetHitsAreCountedAsSuppressed) {
  const BareGuest guest = CountingGuest({.last = 1000});
  BareRun run(guest, 1, {"counter"}, {.max_captures = 100, .max_frozen_permille = 1000});
  EXPECT_EQ(run.end().kind, RunEndKind::kPowerOff);
  const Sidecar& sidecar = run.sidecar("counter");
  EXPECT_EQ(sidecar.reports.size(), 100u);
  ASSERT_TRUE(sidecar.summary.has_value());
  EXPECT_EQ(sidecar.summary->hits, 1000u);
  EXPECT_EQ(sidecar.summary->captured, 100u);
  EXPECT_EQ(sidecar.summary->suppressed, 900u);
  EXPECT_EQ(sidecar.summary->lost, 0u);
}

}  // namespace
}  // namespace watchsnap
