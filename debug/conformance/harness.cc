#include "debug/conformance/harness.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/log/check.h"
#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "debug/registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::conformance {

using ::absl_testing::IsOk;

Subject& TheSubject() {
  static Subject* subject = new Subject;
  return *subject;
}

void Recorder::OnHits(int vcpu, const WatchHits& hits) {
  EXPECT_GT(hits.count, 0);
  absl::MutexLock lock(&mutex_);
  for (int i = 0; i < hits.count; ++i) {
    EXPECT_EQ(hits.hits[i].vcpu, vcpu);
    hits_.push_back(hits.hits[i]);
  }
}

size_t Recorder::count() const {
  absl::MutexLock lock(&mutex_);
  return hits_.size();
}

size_t Recorder::CountOf(WatchId watch) const {
  absl::MutexLock lock(&mutex_);
  return std::count_if(hits_.begin(), hits_.end(),
                       [watch](const WatchHit& hit) { return hit.watch == watch; });
}

size_t Recorder::CountOnVcpu(int vcpu) const {
  absl::MutexLock lock(&mutex_);
  return std::count_if(hits_.begin(), hits_.end(),
                       [vcpu](const WatchHit& hit) { return hit.vcpu == vcpu; });
}

std::vector<WatchHit> Recorder::hits() const {
  absl::MutexLock lock(&mutex_);
  return hits_;
}

std::unique_ptr<PluginMachine> PluginMachine::Make(const BareBoot& boot, int vcpus,
                                                   HitSink* sink) {
  auto setup = std::unique_ptr<PluginMachine>(new PluginMachine);
  MachineConfig config;
  config.vcpus = vcpus;
  config.memory_bytes = 4 << 20;
  config.boot = boot;
  config.devices.push_back(BareGuestPowerPort());
  config.observer = &setup->dispatcher_;
  absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
  EXPECT_THAT(machine, IsOk());
  if (!machine.ok()) return nullptr;
  setup->machine_ = *std::move(machine);
  setup->target_ = std::make_unique<MachineDebugTarget>(setup->machine_.get());
  absl::StatusOr<std::unique_ptr<DebugDevice>> device =
      CreateDebugDevice(TheSubject().plugin, *setup->target_);
  EXPECT_THAT(device, IsOk());
  if (!device.ok()) return nullptr;
  setup->device_ = *std::move(device);
  setup->dispatcher_.Connect(setup->device_.get(), sink);
  return setup;
}

PluginMachine::~PluginMachine() {
  if (machine_ != nullptr) machine_->Stop();
}

void PluginMachine::RunToPowerOff() {
  ASSERT_THAT(machine_->Start(), IsOk());
  const RunEnd end = machine_->Wait(absl::Now() + absl::Minutes(10));
  machine_->Stop();
  ASSERT_EQ(end.kind, RunEndKind::kPowerOff) << RunEndKindName(end.kind) << " " << end.detail;
}

void PluginMachine::StartVcpu(int vcpu, uint64_t entry) {
  constexpr uint64_t kStack = 0x70000;  // below the end of conventional memory, of no other vCPU
  kvm_sregs boot = {};
  ASSERT_THAT(target_->WhileFrozen([&] {
    boot = target_->Registers(0).sregs;
    return absl::OkStatus();
  }),
              IsOk());
  ASSERT_THAT(machine_->RunOnVcpu(vcpu, [&](Vcpu& started) {
    kvm_sregs sregs;
    if (ioctl(started.fd(), KVM_GET_SREGS, &sregs) != 0) {
      return absl::ErrnoToStatus(errno, "KVM_GET_SREGS");
    }
    boot.apic_base = sregs.apic_base;
    if (ioctl(started.fd(), KVM_SET_SREGS, &boot) != 0) {
      return absl::ErrnoToStatus(errno, "KVM_SET_SREGS");
    }
    kvm_regs regs = {};
    regs.rip = entry;
    regs.rsp = kStack;
    regs.rdi = static_cast<uint64_t>(vcpu);
    regs.rflags = 2;
    absl::Status status = started.SetRegisters(regs);
    if (!status.ok()) return status;
    kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
    if (ioctl(started.fd(), KVM_SET_MP_STATE, &runnable) != 0) {
      return absl::ErrnoToStatus(errno, "KVM_SET_MP_STATE");
    }
    return absl::OkStatus();
  }),
              IsOk());
}

uint64_t PluginMachine::Word(uint64_t va) {
  const uint8_t* host = machine_->memory().HostAddress(BareGuestBuilder::GpaOf(va), 8);
  return __atomic_load_n(reinterpret_cast<const uint64_t*>(host), __ATOMIC_SEQ_CST);
}

void PluginMachine::SetWord(uint64_t va, uint32_t value) {
  uint8_t* host = machine_->memory().HostAddress(BareGuestBuilder::GpaOf(va), 4);
  __atomic_store_n(reinterpret_cast<uint32_t*>(host), value, __ATOMIC_SEQ_CST);
}

bool Eventually(const std::function<bool()>& condition) {
  const absl::Time until = absl::Now() + absl::Minutes(1);
  while (!condition()) {
    if (absl::Now() > until) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

DebugCapabilities SubjectCapabilities() {
  const BareGuest guest = HaltedGuest(TheSubject().vcpus, HaltWith::kInterruptsOff);
  auto setup = PluginMachine::Make(guest.boot, TheSubject().vcpus, nullptr);
  CHECK(setup != nullptr) << "no machine can be made with the plugin '" << TheSubject().plugin << "'";
  return setup->device().Capabilities();
}

int WatchesToUse(int most) { return std::min(most, SubjectCapabilities().user_watches); }

}  // namespace watchsnap::conformance
