#include "debug/gdb_server/guest_debug_composer.h"

#include <algorithm>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/gdb_server/x86_64/compose.h"

namespace watchsnap::gdb {
namespace {

constexpr uint32_t kInjections = KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP;

}  // namespace

absl::Status GuestDebugComposer::Apply(int vcpu, const kvm_guest_debug& plugin, bool step) {
  absl::StatusOr<ComposedDebug> composed;
  {
    absl::MutexLock lock(&mutex_);
    composed = ComposeGuestDebug(plugin, {.breakpoints = breakpoints_,
                                          .software_breakpoints = intercept_,
                                          .step = step,
                                          .block_interrupts = can_block_interrupts_});
  }
  if (!composed.ok()) return composed.status();
  absl::Status status = target_.SetGuestDebug(vcpu, composed->debug);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  VcpuState& state = vcpus_[vcpu];
  state.plugin = plugin;
  state.plugin.control &= ~kInjections;  // they happened in this call
  state.step = step;
  state.breakpoint_slots = composed->breakpoint_slots;
  return absl::OkStatus();
}

absl::Status GuestDebugComposer::SetGuestDebug(int vcpu, const kvm_guest_debug& debug) {
  return Apply(vcpu, debug, stepping(vcpu));
}

absl::Status GuestDebugComposer::SetStep(int vcpu, bool on) {
  kvm_guest_debug plugin;
  {
    absl::MutexLock lock(&mutex_);
    plugin = vcpus_[vcpu].plugin;
  }
  return Apply(vcpu, plugin, on);
}

absl::Status GuestDebugComposer::Reapply(int vcpu) {
  absl::Status status = RunOnVcpu(vcpu, [this, vcpu] {
    kvm_guest_debug plugin;
    bool step;
    {
      absl::MutexLock lock(&mutex_);
      plugin = vcpus_[vcpu].plugin;
      step = vcpus_[vcpu].step;
    }
    return Apply(vcpu, plugin, step);
  });
  // A vCPU that is gone runs nothing that could be missed.
  return absl::IsFailedPrecondition(status) ? absl::OkStatus() : status;
}

absl::Status GuestDebugComposer::ApplyToAll(const std::function<void()>& undo) {
  return WhileFrozen([&]() -> absl::Status {
    for (int i = 0; i < vcpu_count(); ++i) {
      absl::Status status = Reapply(i);
      if (status.ok()) continue;
      undo();
      for (int changed = 0; changed <= i; ++changed) {
        absl::Status undone = Reapply(changed);
        if (!undone.ok()) {
          LOG(ERROR) << "undoing a half-set breakpoint on vCPU " << changed << ": " << undone;
        }
      }
      return absl::Status(status.code(), absl::StrCat("vCPU ", i, ": ", status.message()));
    }
    return absl::OkStatus();
  });
}

absl::Status GuestDebugComposer::AddBreakpoint(uint64_t address) {
  {
    absl::MutexLock lock(&mutex_);
    if (std::find(breakpoints_.begin(), breakpoints_.end(), address) != breakpoints_.end()) {
      return absl::AlreadyExistsError(
          absl::StrFormat("there is a hardware breakpoint at %#x already", address));
    }
    breakpoints_.push_back(address);
  }
  const auto undo = [this, address] {
    absl::MutexLock lock(&mutex_);
    breakpoints_.erase(std::remove(breakpoints_.begin(), breakpoints_.end(), address),
                       breakpoints_.end());
  };
  absl::Status status = ApplyToAll(undo);
  if (!status.ok()) undo();  // also where nothing could be frozen
  return status;
}

absl::Status GuestDebugComposer::RemoveBreakpoint(uint64_t address) {
  {
    absl::MutexLock lock(&mutex_);
    auto found = std::find(breakpoints_.begin(), breakpoints_.end(), address);
    if (found == breakpoints_.end()) {
      return absl::NotFoundError(absl::StrFormat("no hardware breakpoint at %#x", address));
    }
    breakpoints_.erase(found);
  }
  return ApplyToAll([] {});
}

absl::Status GuestDebugComposer::InterceptBreakpointInstructions(bool on) {
  {
    absl::MutexLock lock(&mutex_);
    if (intercept_ == on) return absl::OkStatus();
    intercept_ = on;
  }
  return ApplyToAll([this, on] {
    absl::MutexLock lock(&mutex_);
    intercept_ = !on;
  });
}

bool GuestDebugComposer::stepping(int vcpu) const {
  absl::MutexLock lock(&mutex_);
  return vcpus_[vcpu].step;
}

uint32_t GuestDebugComposer::BreakpointSlots(int vcpu) const {
  absl::MutexLock lock(&mutex_);
  return vcpus_[vcpu].breakpoint_slots;
}

}  // namespace watchsnap::gdb
