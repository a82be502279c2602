// DebugTargetFake: a machine made of notes. Records what a plugin sets, serves memory at addresses
// the test chooses, and fails on demand.
//
// Threads: one, the test's. RunOnVcpu runs the task on the caller's thread, and notes which vCPU it
// stands for, so that a call "on the wrong thread" is an error as it would be a bug.
// Ownership: owns the bytes it serves. Errors: those it was told to give.
#ifndef WATCHSNAP_DEBUG_DEBUG_TARGET_FAKE_H_
#define WATCHSNAP_DEBUG_DEBUG_TARGET_FAKE_H_

#include <cstring>
#include <functional>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "debug/debug_device.h"

namespace watchsnap {

class DebugTargetFake : public DebugTarget {
 public:
  // One call that changed a vCPU, in the order they came.
  struct Change {
    enum Kind { kGuestDebug, kDebugRegs } kind;
    int vcpu;
    kvm_guest_debug debug;  // kGuestDebug
    kvm_debugregs regs;     // kDebugRegs
    bool frozen;
  };

  explicit DebugTargetFake(int vcpus) : vcpus_(vcpus) {}

  // Maps `bytes` of zeroed memory at `kva`.
  void Map(uint64_t kva, uint64_t bytes) { memory_[kva].resize(bytes); }
  template <typename T>
  void Store(uint64_t kva, T value) {
    std::memcpy(HostAddress(0, kva, sizeof value), &value, sizeof value);
  }
  // The next SetGuestDebug on `vcpu` fails with `status` and changes nothing.
  void FailNextSetGuestDebug(int vcpu, absl::Status status) {
    vcpus_[vcpu].next_failure = std::move(status);
  }
  void FailNextFreeze(absl::Status status) { next_freeze_failure_ = std::move(status); }

  const kvm_guest_debug& guest_debug(int vcpu) const { return vcpus_[vcpu].debug; }
  VcpuRegisters& saved_registers(int vcpu) { return vcpus_[vcpu].saved; }
  kvm_debugregs& debug_regs(int vcpu) { return vcpus_[vcpu].regs; }
  const std::vector<Change>& changes() const { return changes_; }
  void ForgetChanges() { changes_.clear(); }
  int freezes() const { return freezes_; }

  // Lets the test play a vCPU thread: inside, calls for `vcpu` are allowed.
  template <typename F>
  void OnVcpuThread(int vcpu, F&& run) {
    const int before = current_;
    current_ = vcpu;
    run();
    current_ = before;
  }

  int vcpu_count() const override { return static_cast<int>(vcpus_.size()); }
  absl::Status RunOnVcpu(int vcpu, std::function<absl::Status()> task) override {
    absl::Status status;
    OnVcpuThread(vcpu, [&] { status = task(); });
    return status;
  }
  absl::Status SetGuestDebug(int vcpu, const kvm_guest_debug& debug) override {
    absl::Status status = CheckThread(vcpu, "KVM_SET_GUEST_DEBUG");
    if (!status.ok()) return status;
    if (!vcpus_[vcpu].next_failure.ok()) {
      status = std::exchange(vcpus_[vcpu].next_failure, absl::OkStatus());
      return status;
    }
    vcpus_[vcpu].debug = debug;
    changes_.push_back({Change::kGuestDebug, vcpu, debug, {}, frozen_});
    return absl::OkStatus();
  }
  absl::StatusOr<kvm_debugregs> GetDebugRegs(int vcpu) override {
    absl::Status status = CheckThread(vcpu, "KVM_GET_DEBUGREGS");
    if (!status.ok()) return status;
    return vcpus_[vcpu].regs;
  }
  absl::Status SetDebugRegs(int vcpu, const kvm_debugregs& regs) override {
    absl::Status status = CheckThread(vcpu, "KVM_SET_DEBUGREGS");
    if (!status.ok()) return status;
    vcpus_[vcpu].regs = regs;
    changes_.push_back({Change::kDebugRegs, vcpu, {}, regs, frozen_});
    return absl::OkStatus();
  }
  absl::Status WhileFrozen(std::function<absl::Status()> task) override {
    if (!next_freeze_failure_.ok()) return std::exchange(next_freeze_failure_, absl::OkStatus());
    ++freezes_;
    frozen_ = true;
    absl::Status status = task();
    frozen_ = false;
    return status;
  }
  uint8_t* HostAddress(int, uint64_t kva, uint64_t length) override {
    auto it = memory_.upper_bound(kva);
    if (it == memory_.begin()) return nullptr;
    --it;
    const uint64_t offset = kva - it->first;
    if (offset > it->second.size() || length > it->second.size() - offset) return nullptr;
    return it->second.data() + offset;
  }
  const VcpuRegisters& Registers(int vcpu) override { return vcpus_[vcpu].saved; }
  void SaveRegisters(int) override {}

 private:
  struct FakeVcpu {
    kvm_guest_debug debug = {};
    kvm_debugregs regs = {};
    VcpuRegisters saved;
    absl::Status next_failure;
  };
  absl::Status CheckThread(int vcpu, std::string_view what) const {
    if (current_ == vcpu) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(what, " for vCPU ", vcpu, " came from another thread"));
  }

  std::vector<FakeVcpu> vcpus_;
  std::map<uint64_t, std::vector<uint8_t>> memory_;
  std::vector<Change> changes_;
  absl::Status next_freeze_failure_;
  int current_ = -1;
  int freezes_ = 0;
  bool frozen_ = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DEBUG_TARGET_FAKE_H_
