// The embedder's plugin over a plugin that traps when it is told to.
#include "writer_counts.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "debug/registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace embedder {
namespace {

using watchsnap::WatchHits;

// Each exit is one hit of the watched address, by an instruction that ends at the exit's pc.
class TrapsAsTold : public watchsnap::DebugDevice {
 public:
  std::string_view Name() const override { return "traps_as_told"; }
  watchsnap::DebugCapabilities Capabilities() const override { return {.user_watches = 3, .has_reserved_slot = true, .cost = "nothing"}; }
  absl::StatusOr<watchsnap::WatchId> Arm(const watchsnap::WatchSpec& spec) override {
    address_ = spec.address;
    reserved_ = spec.reserved_slot;
    return 7;
  }
  absl::Status Disarm(watchsnap::WatchId watch) override {
    return watch == 7 ? absl::OkStatus() : absl::NotFoundError("no such watch");
  }
  void OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) override {
    if (exit.pc == 0) return;  // somebody else's
    hits.hits[hits.count++] = {.watch = 7, .reserved_slot = reserved_, .vcpu = vcpu, .address = address_, .next_pc = exit.pc};
  }

 private:
  uint64_t address_ = 0;
  bool reserved_ = false;
};

class TwoVcpus : public watchsnap::DebugTarget {
 public:
  int vcpu_count() const override { return 2; }
  absl::Status RunOnVcpu(int, std::function<absl::Status()> task) override { return task(); }
  absl::Status SetGuestDebug(int, const kvm_guest_debug&) override { return absl::OkStatus(); }
  absl::StatusOr<kvm_debugregs> GetDebugRegs(int) override { return kvm_debugregs{}; }
  absl::Status SetDebugRegs(int, const kvm_debugregs&) override { return absl::OkStatus(); }
  absl::Status WhileFrozen(std::function<absl::Status()> task) override { return task(); }
  uint8_t* HostAddress(int, uint64_t, uint64_t) override { return nullptr; }
  const watchsnap::VcpuRegisters& Registers(int) override { return registers_; }
  void SaveRegisters(int) override {}
  std::string FunctionAt(uint64_t pc) override { return pc < 0x2000 ? "first" : pc < 0x3000 ? "second" : ""; }

 private:
  watchsnap::VcpuRegisters registers_;
};

TEST(WriterCountsTest, CountsEachFunctionOverAllVcpusAndStopsNothing) {
  TwoVcpus target;
  WriterCounts plugin(target, std::make_unique<TrapsAsTold>());
  ASSERT_EQ(plugin.Arm({.address = 0x9000, .tag = "x"}).value_or(-1), 7);
  const std::pair<int, uint64_t> exits[] = {{0, 0x2010}, {1, 0x2010}, {0, 0x2020}, {1, 0x1004}, {0, 0}};
  for (const auto& [vcpu, pc] : exits) {
    kvm_debug_exit_arch exit = {};
    exit.pc = pc;
    WatchHits hits;
    plugin.OnExit(vcpu, exit, hits);
    EXPECT_EQ(hits.count, pc == 0 ? 0 : 1);
    if (hits.count == 1) {
      EXPECT_TRUE(hits.hits[0].count_only);
    }
  }
  EXPECT_THAT(plugin.Summary(), testing::ElementsAre("0x9000: 3 writes by second", "0x9000: 1 writes by first"));
}

TEST(WriterCountsTest, AStoreThatEndsItsFunctionIsCountedThere) {
  TwoVcpus target;
  WriterCounts plugin(target, std::make_unique<TrapsAsTold>());
  ASSERT_TRUE(plugin.Arm({.address = 0x9000}).ok());
  kvm_debug_exit_arch exit = {};
  exit.pc = 0x2000;
  WatchHits hits;
  plugin.OnExit(0, exit, hits);
  EXPECT_THAT(plugin.Summary(), testing::ElementsAre("0x9000: 1 writes by first"));
}

TEST(WriterCountsTest, PlacesBeyondItsTableAreStillCounted) {
  TwoVcpus target;
  WriterCounts plugin(target, std::make_unique<TrapsAsTold>());
  ASSERT_TRUE(plugin.Arm({.address = 0x9000}).ok());
  for (uint64_t i = 0; i < 300; ++i) {
    kvm_debug_exit_arch exit = {};
    exit.pc = 0x10000 + 4 * i;
    WatchHits hits;
    plugin.OnExit(1, exit, hits);
  }
  EXPECT_EQ(plugin.Summary().size(), 257u);
  EXPECT_EQ(plugin.Summary().back(), "44 writes by further places");
}

TEST(WriterCountsTest, TheReservedWatchGoesToWhoeverTakesEvidence) {
  TwoVcpus target;
  WriterCounts plugin(target, std::make_unique<TrapsAsTold>());
  EXPECT_TRUE(plugin.Capabilities().has_reserved_slot);
  ASSERT_TRUE(plugin.Arm({.address = 0x9000, .tag = "exit kind", .reserved_slot = true}).ok());
  kvm_debug_exit_arch exit = {};
  exit.pc = 0x2010;
  WatchHits hits;
  plugin.OnExit(0, exit, hits);
  ASSERT_EQ(hits.count, 1);
  EXPECT_FALSE(hits.hits[0].count_only);
  EXPECT_THAT(plugin.Summary(), testing::IsEmpty());
}

TEST(WriterCountsTest, SaysThatThePluginBelowIsMissing) {
  TwoVcpus target;
  auto plugin = WriterCounts::Over("no_such_plugin", target);
  const absl::Status status = plugin->Arm({.address = 0x9000}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("no_such_plugin"));
}

TEST(WriterCountsTest, IsRegisteredUnderItsName) {
  EXPECT_THAT(watchsnap::DebugDeviceNames(), testing::Contains("writer_counts"));
}

}  // namespace
}  // namespace embedder
