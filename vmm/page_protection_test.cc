// Protected pages and what a vCPU's observer is told of stores to them: bare guests, on any /dev/kvm.
#include "vmm/page_protection.h"

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/bare_guest/bare_guests.h"
#include "vmm/machine.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr uint64_t kDataPage = BareGuestBuilder::kDataGpa;

// Does what a plugin would: writes the data of exits itself, steps over faults.
class Observer : public VcpuExitObserver {
 public:
  void OnDebugExit(Vcpu&, const kvm_debug_exit_arch&) override { ++debug_exits; }
  bool OnMmio(Vcpu& vcpu, uint64_t gpa, absl::Span<uint8_t> data, bool is_write) override {
    uint8_t* host = machine->memory().HostAddress(gpa, data.size());
    if (host == nullptr || !is_write) return false;
    std::memcpy(host, data.data(), data.size());
    ++stores;
    vcpu.TellWhenComplete();
    return true;
  }
  void OnMmioComplete(Vcpu& vcpu) override {
    vcpu.SaveState();
    after.push_back(vcpu.registers().pc());
  }
  bool OnMemoryFault(Vcpu& vcpu) override {
    vcpu.SaveState();
    absl::StatusOr<FrozenVcpus> frozen =
        machine->barrier().TryLead(vcpu.index(), absl::Seconds(10));
    EXPECT_THAT(frozen.status(), IsOk());
    PageProtection& protection = machine->page_protection();
    EXPECT_THAT(protection.SetHostProtected({kDataPage}, false), IsOk());
    absl::StatusOr<StepEnd> end = vcpu.Step();
    EXPECT_THAT(end, absl_testing::IsOkAndHolds(StepEnd::kStepped));
    EXPECT_THAT(protection.SetHostProtected({kDataPage}, true), IsOk());
    ++stores;
    after.push_back(vcpu.registers().pc());
    return true;
  }

  Machine* machine = nullptr;
  int debug_exits = 0;
  int stores = 0;               // exits, or steps
  std::vector<uint64_t> after;  // the address after each storing instruction
};

class PageProtectionTest : public ::testing::Test {
 protected:
  ~PageProtectionTest() override {
    if (machine_ != nullptr) machine_->Stop();
  }
  void Make(const BareBoot& boot) {
    MachineConfig config;
    config.memory_bytes = 4 << 20;
    config.boot = boot;
    config.devices.push_back(BareGuestPowerPort());
    config.observer = &observer_;
    absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
    ASSERT_THAT(machine, IsOk());
    machine_ = *std::move(machine);
    observer_.machine = machine_.get();
  }
  void Run() {
    ASSERT_THAT(machine_->Start(), IsOk());
    const RunEnd end = machine_->Wait(absl::Now() + absl::Seconds(60));
    machine_->Stop();
    ASSERT_EQ(end.kind, RunEndKind::kPowerOff) << end.detail;
  }
  uint64_t Word(uint64_t va) {
    return machine_->memory().ReadObject<uint64_t>(BareGuestBuilder::GpaOf(va)).value();
  }

  Observer observer_;
  std::unique_ptr<Machine> machine_;
};

TEST_F(PageProtectionTest, AStoreToAReadOnlyPageExitsOnceAnInstruction) {
  for (StoreKind kind : {StoreKind::kMov8, StoreKind::kLockInc4, StoreKind::kMovups}) {
    SCOPED_TRACE(StoreKindName(kind));
    observer_ = Observer();
    const BareGuest guest = CountingGuest({.last = 20, .kind = kind});
    ASSERT_NO_FATAL_FAILURE(Make(guest.boot));
    ASSERT_THAT(machine_->page_protection().SetReadOnly({kDataPage}), IsOk());
    ASSERT_NO_FATAL_FAILURE(Run());
    EXPECT_EQ(Word(guest.words[0]), 20u);
    EXPECT_EQ(observer_.stores, kind == StoreKind::kMovups ? 40 : 20) << "8 bytes an exit";
    EXPECT_EQ(observer_.after, std::vector<uint64_t>(20, guest.stores[0].next_pc));
    machine_.reset();
  }
}

TEST_F(PageProtectionTest, AHostProtectedPageFaultsAndIsSteppedOverOrExitsAsMmio) {
  const BareGuest guest = CountingGuest({.last = 20});
  ASSERT_NO_FATAL_FAILURE(Make(guest.boot));
  ASSERT_THAT(machine_->page_protection().SetHostProtected({kDataPage}, true), IsOk());
  // The VMM's own writes do not notice.
  ASSERT_THAT(machine_->memory().WriteObject<uint64_t>(
                  BareGuestBuilder::GpaOf(guest.words[1]), 7), IsOk());
  ASSERT_NO_FATAL_FAILURE(Run());
  EXPECT_EQ(Word(guest.words[0]), 20u);
  EXPECT_EQ(Word(guest.words[1]), 7u);
  EXPECT_EQ(observer_.stores, 20);
  EXPECT_EQ(observer_.after, std::vector<uint64_t>(20, guest.stores[0].next_pc));
  EXPECT_EQ(observer_.debug_exits, 0) << "a step's exit is its caller's";
}

TEST_F(PageProtectionTest, PagesComeAndGo) {
  const BareGuest guest = CountingGuest({.last = 20});
  ASSERT_NO_FATAL_FAILURE(Make(guest.boot));
  PageProtection& protection = machine_->page_protection();
  EXPECT_THAT(protection.SetReadOnly({0, kDataPage, kDataPage + 4096, kDataPage + 3 * 4096,
                                      (4 << 20) - 4096}),
              IsOk());
  EXPECT_THAT(protection.SetReadOnly({kDataPage + 4096}), IsOk());
  EXPECT_THAT(protection.SetReadOnly({}), IsOk());
  EXPECT_THAT(protection.SetHostProtected({kDataPage, kDataPage + 4096}, true), IsOk());
  EXPECT_THAT(protection.SetHostProtected({kDataPage, kDataPage + 4096}, false), IsOk());
  ASSERT_NO_FATAL_FAILURE(Run());
  EXPECT_EQ(Word(guest.words[0]), 20u);
  EXPECT_EQ(observer_.stores, 0);
}

TEST_F(PageProtectionTest, OnlyPagesOfRamCanBeProtected) {
  const BareGuest guest = CountingGuest({.last = 20});
  ASSERT_NO_FATAL_FAILURE(Make(guest.boot));
  PageProtection& protection = machine_->page_protection();
  EXPECT_THAT(protection.SetReadOnly({kDataPage, 4 << 20}),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("0x400000 is not")));
  EXPECT_THAT(protection.SetReadOnly({kDataPage + 8}), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(protection.SetHostProtected({kDataPage, 4 << 20}, true),
              StatusIs(absl::StatusCode::kOutOfRange));
  ASSERT_NO_FATAL_FAILURE(Run());
  EXPECT_EQ(observer_.stores, 0) << "nothing is left protected";
}

}  // namespace
}  // namespace watchsnap
