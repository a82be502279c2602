#include "debug/gdb_server/debugger.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "debug/hw_watch/x86_64/debug_registers.h"

namespace watchsnap::gdb {

namespace {

// A capture may wait for the renderer, and for another's freeze.
constexpr absl::Duration kCapturesDeadline = absl::Seconds(10);

constexpr unsigned Bit(BreakpointType type) { return 1u << static_cast<int>(type); }

}  // namespace

Debugger::Debugger(GuestDebugComposer* composer, RunControl* run_control,
                   std::function<bool()> software_breakpoints_work)
    : composer_(*composer),
      run_control_(*run_control),
      code_(composer),
      stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      software_breakpoints_work_(std::move(software_breakpoints_work)),
      vcpus_(composer->vcpu_count()) {
  PCHECK(stop_fd_ >= 0) << "eventfd";
}

Debugger::~Debugger() { close(stop_fd_); }

void Debugger::HoldAll() {
  for (int i = 0; i < vcpu_count(); ++i) run_control_.Hold(i);
}

void Debugger::ReleaseAll() {
  for (int i = 0; i < vcpu_count(); ++i) run_control_.Release(i);
}

absl::Status Debugger::Settle() {
  absl::Status status = composer_.WhileFrozen([] { return absl::OkStatus(); });
  {
    // A vCPU that has come out of the guest parks for that freeze when it has nothing more to do, or within
    // OnHits: there is none that is on its way to OnHits.
    absl::MutexLock lock(&mutex_);
    const auto delivered = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return deliveries_ == 0; };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&delivered), kCapturesDeadline)) {
      status.Update(absl::DeadlineExceededError("a capture of this moment is still being taken"));
    }
  }
  for (int i = 0; i < vcpu_count(); ++i) {
    if (!composer_.stepping(i)) continue;
    absl::Status off = composer_.RunOnVcpu(i, [this, i] { return composer_.SetStep(i, false); });
    if (!off.ok() && !absl::IsFailedPrecondition(off)) status.Update(off);
  }
  return status;
}

void Debugger::ForgetNotice() {
  uint64_t count;
  [[maybe_unused]] ssize_t ignored = read(stop_fd_, &count, sizeof count);
}

void Debugger::Record(const Stop& stop) {
  std::optional<Stop>& pending = vcpus_[stop.vcpu].pending;
  // A step that also hits a watch, or a breakpoint: the step is the least of the news.
  if (!pending.has_value() || pending->kind == Stop::kStep) pending = stop;
  HoldAll();
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t ignored = write(stop_fd_, &one, sizeof one);
}

bool Debugger::OnDebugExit(int vcpu, kvm_debug_exit_arch& exit) {
  absl::MutexLock lock(&mutex_);
  if (!attached_) return true;
  if (exit.exception == x86_64::kBreakpointException) {
    if (!code_.HasBreakpoint(exit.pc)) return true;  // the guest's own
    Record({Stop::kSoftwareBreakpoint, vcpu});
    return false;
  }
  if (exit.exception != x86_64::kDebugException) return true;
  bool ours = false;
  if ((exit.dr6 & x86_64::kDr6SingleStep) != 0 && composer_.stepping(vcpu)) {
    exit.dr6 &= ~x86_64::kDr6SingleStep;
    ours = true;
    Record({Stop::kStep, vcpu});
  }
  const uint64_t slots = composer_.BreakpointSlots(vcpu);
  if ((exit.dr6 & slots) != 0) {
    exit.dr6 &= ~slots;
    ours = true;
    auto wanted = hardware_.find(exit.pc);
    const bool as_software =
        wanted != hardware_.end() && wanted->second == Bit(BreakpointType::kSoftware);
    Record({as_software ? Stop::kSoftwareBreakpoint : Stop::kHardwareBreakpoint, vcpu});
  }
  if (!ours) return true;
  return (exit.dr6 & (x86_64::kDr6SlotBits | x86_64::kDr6GuestBits)) != 0;
}

void Debugger::OnDebuggerHit(const WatchHit& hit) {
  absl::MutexLock lock(&mutex_);
  if (attached_) Record({Stop::kWatch, hit.vcpu, hit.address});
}

void Debugger::OnHits(int vcpu, const WatchHits& hits) {
  if (sink_ == nullptr) return;
  {
    absl::MutexLock lock(&mutex_);
    ++deliveries_;
  }
  sink_->OnHits(vcpu, hits);
  absl::MutexLock lock(&mutex_);
  --deliveries_;
}

absl::Status Debugger::Attach() {
  {
    absl::MutexLock lock(&mutex_);
    CHECK(!attached_) << "one debugger at a time";
    attached_ = true;
    for (VcpuState& vcpu : vcpus_) vcpu = VcpuState();
    HoldAll();
  }
  absl::Status status = Settle();
  ForgetNotice();
  if (status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  attached_ = false;
  ReleaseAll();
  return status;
}

absl::Status Debugger::RemoveAll() {
  absl::Status status;
  for (const auto& [key, watch] : armed_) status.Update(watches_->DisarmForDebugger(watch));
  armed_.clear();
  std::map<uint64_t, unsigned> hardware;
  {
    absl::MutexLock lock(&mutex_);
    hardware.swap(hardware_);
  }
  for (const auto& [address, types] : hardware) status.Update(composer_.RemoveBreakpoint(address));
  code_.RemoveAllBreakpoints();
  status.Update(composer_.InterceptBreakpointInstructions(false));
  return status;
}

absl::Status Debugger::Detach() {
  {
    absl::MutexLock lock(&mutex_);
    if (!attached_) return absl::OkStatus();
    HoldAll();
  }
  absl::Status status = Settle();
  status.Update(RemoveAll());
  status.Update(HideStop());
  ForgetNotice();
  absl::MutexLock lock(&mutex_);
  attached_ = false;
  for (VcpuState& vcpu : vcpus_) vcpu = VcpuState();
  ReleaseAll();
  return status;
}

absl::Status Debugger::Run(absl::Span<const RunAction> actions) {
  CHECK_EQ(static_cast<int>(actions.size()), vcpu_count());
  ForgetNotice();
  bool told_at_once = false;
  {
    absl::MutexLock lock(&mutex_);
    for (int i = 0; i < vcpu_count(); ++i) {
      VcpuState& vcpu = vcpus_[i];
      vcpu.running = actions[i] != RunAction::kStay;
      if (!vcpu.running || !vcpu.pending.has_value()) continue;
      bool stands = vcpu.pending->kind == Stop::kWatch;
      if (stands) {
        // The debugger may have removed that watch since.
        auto watch = armed_.lower_bound({vcpu.pending->address, 0});
        stands = watch != armed_.end() && watch->first.first == vcpu.pending->address;
      }
      if (stands) {
        told_at_once = true;
      } else {
        vcpu.pending.reset();
      }
    }
    if (told_at_once) {
      const uint64_t one = 1;
      [[maybe_unused]] ssize_t ignored = write(stop_fd_, &one, sizeof one);
      return absl::OkStatus();
    }
  }
  for (int i = 0; i < vcpu_count(); ++i) {
    if (actions[i] != RunAction::kStep) continue;
    // Anew for each step: KVM takes note of where it begins.
    absl::Status status = composer_.RunOnVcpu(i, [this, i] { return composer_.SetStep(i, true); });
    // A vCPU that has ended cannot run; the others can.
    if (!status.ok() && !absl::IsFailedPrecondition(status)) return status;
  }
  absl::Status hidden = HideStop();
  if (!hidden.ok()) return hidden;
  absl::MutexLock lock(&mutex_);
  for (int i = 0; i < vcpu_count(); ++i) {
    if (actions[i] != RunAction::kStay) run_control_.Release(i);
  }
  return absl::OkStatus();
}

std::optional<Stop> Debugger::TakePending() {
  for (Stop::Kind kind : {Stop::kWatch, Stop::kSoftwareBreakpoint, Stop::kHardwareBreakpoint,
                          Stop::kStep, Stop::kInterrupted}) {
    for (VcpuState& vcpu : vcpus_) {
      if (!vcpu.running || !vcpu.pending.has_value() || vcpu.pending->kind != kind) continue;
      return std::exchange(vcpu.pending, std::nullopt);
    }
  }
  return std::nullopt;
}

std::optional<Stop> Debugger::TakeStop() {
  ForgetNotice();
  {
    absl::MutexLock lock(&mutex_);
    const bool any = std::any_of(vcpus_.begin(), vcpus_.end(), [](const VcpuState& vcpu) {
      return vcpu.running && vcpu.pending.has_value();
    });
    if (!attached_ || !any) return std::nullopt;
  }
  absl::Status status = Settle();
  if (!status.ok()) LOG(ERROR) << "gdb: stopping all vCPUs: " << status;
  absl::MutexLock lock(&mutex_);
  return TakePending();
}

Stop Debugger::Interrupt() {
  {
    absl::MutexLock lock(&mutex_);
    HoldAll();
  }
  absl::Status status = Settle();
  if (!status.ok()) LOG(ERROR) << "gdb: stopping all vCPUs: " << status;
  ForgetNotice();
  absl::MutexLock lock(&mutex_);
  return TakePending().value_or(Stop{Stop::kInterrupted});
}

absl::Status Debugger::SetRegisters(int vcpu, const VcpuRegisters& registers, bool general,
                                    bool special) {
  return composer_.RunOnVcpu(vcpu, [&]() -> absl::Status {
    if (general) {
      absl::Status status = run_control_.SetRegisters(vcpu, registers.regs);
      if (!status.ok()) return status;
    }
    if (special) return run_control_.SetSpecialRegisters(vcpu, registers.sregs);
    return absl::OkStatus();
  });
}

absl::Status Debugger::AddBreakpoint(int vcpu, BreakpointType type, uint64_t address,
                                     uint32_t length) {
  switch (type) {
    case BreakpointType::kSoftware: {
      if (!software_breakpoints_work_()) return AddHardware(address, type);
      absl::Status status = composer_.InterceptBreakpointInstructions(true);
      if (!status.ok()) return status;
      status = code_.AddBreakpoint(vcpu, address);
      if (!status.ok() && !code_.HasBreakpoints()) {
        (void)composer_.InterceptBreakpointInstructions(false);
      }
      return status;
    }
    case BreakpointType::kHardware:
      return AddHardware(address, type);
    case BreakpointType::kWrite: {
      if (armed_.contains({address, length})) return absl::OkStatus();
      absl::StatusOr<WatchId> watch = watches_->ArmForDebugger(address, length);
      if (!watch.ok()) return watch.status();
      armed_[{address, length}] = *watch;
      return absl::OkStatus();
    }
    case BreakpointType::kRead:
    case BreakpointType::kAccess:
      break;
  }
  return absl::UnimplementedError(absl::StrCat(
      "the debug plugin ", watches_->Name(), " watches writes only; use gdb's 'watch'"));
}

absl::Status Debugger::AddHardware(uint64_t address, BreakpointType type) {
  {
    absl::MutexLock lock(&mutex_);
    if (auto there = hardware_.find(address); there != hardware_.end()) {
      there->second |= Bit(type);
      return absl::OkStatus();
    }
  }
  absl::Status status = composer_.AddBreakpoint(address);
  if (!status.ok()) {
    if (type == BreakpointType::kHardware) return status;
    return absl::Status(
        status.code(), absl::StrCat(status.message(), " (this host's KVM does not deliver breakpoint "
                                    "instructions, so that every breakpoint takes a debug register)"));
  }
  absl::MutexLock lock(&mutex_);
  hardware_[address] = Bit(type);
  return absl::OkStatus();
}

absl::Status Debugger::RemoveHardware(uint64_t address, BreakpointType type) {
  {
    absl::MutexLock lock(&mutex_);
    auto there = hardware_.find(address);
    if (there == hardware_.end() || (there->second & Bit(type)) == 0) {
      return absl::NotFoundError(absl::StrFormat("there is no such breakpoint at %#x", address));
    }
    there->second &= ~Bit(type);
    if (there->second != 0) return absl::OkStatus();
    hardware_.erase(there);
  }
  return composer_.RemoveBreakpoint(address);
}

absl::Status Debugger::RemoveBreakpoint(BreakpointType type, uint64_t address, uint32_t length) {
  switch (type) {
    case BreakpointType::kSoftware: {
      if (!software_breakpoints_work_()) return RemoveHardware(address, type);
      absl::Status status = code_.RemoveBreakpoint(address);
      if (status.ok() && !code_.HasBreakpoints()) {
        status = composer_.InterceptBreakpointInstructions(false);
      }
      return status;
    }
    case BreakpointType::kHardware:
      return RemoveHardware(address, type);
    case BreakpointType::kWrite: {
      auto found = armed_.find({address, length});
      if (found == armed_.end()) break;
      const WatchId watch = found->second;
      armed_.erase(found);
      return watches_->DisarmForDebugger(watch);
    }
    case BreakpointType::kRead:
    case BreakpointType::kAccess:
      break;
  }
  return absl::NotFoundError(absl::StrFormat("there is no such breakpoint at %#x", address));
}

}  // namespace watchsnap::gdb
