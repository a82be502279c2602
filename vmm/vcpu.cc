#include "vmm/vcpu.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vmm/kvm_flexible.h"

namespace watchsnap {
namespace {

// SDM vol. 1 §3.4.3.3 and vol. 3B §17.2.3.
constexpr uint64_t kTrapFlag = 1u << 8;
constexpr uint64_t kDr6SingleStep = 1u << 14;

// `immediate_exit` is shared with the kicking thread and with the kernel.
void SetImmediateExit(kvm_run* run, uint8_t value) {
  __atomic_store_n(&run->immediate_exit, value, __ATOMIC_SEQ_CST);
}
bool ImmediateExit(const kvm_run* run) {
  return __atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST) != 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Vcpu>> Vcpu::Create(int index, uint32_t apic_id,
                                                     const VcpuContext& context) {
  auto vcpu = std::unique_ptr<Vcpu>(new Vcpu(index, context));
  vcpu->fd_ = ioctl(context.vm_fd, KVM_CREATE_VCPU, apic_id);
  if (vcpu->fd_ < 0) return absl::ErrnoToStatus(errno, absl::StrCat("KVM_CREATE_VCPU ", index));
  void* run = mmap(nullptr, context.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd_, 0);
  if (run == MAP_FAILED) {
    return absl::ErrnoToStatus(errno, absl::StrCat("mapping kvm_run of vCPU ", index));
  }
  vcpu->run_ = static_cast<kvm_run*>(run);
  if (context.sync_registers) {
    vcpu->run_->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  }
  return vcpu;
}

Vcpu::~Vcpu() {
  CHECK(!thread_.joinable()) << "vCPU " << index_ << " was destroyed while its thread runs";
  if (run_ != nullptr) munmap(run_, context_.mmap_size);
  if (fd_ >= 0) close(fd_);
}

void Vcpu::StartThread(PauseBarrier* barrier, VcpuExitObserver* observer) {
  observer_ = observer;
  thread_ = std::thread([this, barrier] {
    pthread_setname_np(pthread_self(), absl::StrCat("vcpu", index_).c_str());
    kick_signal_.Adopt(fd_);
    Loop(barrier);
    SaveState();
    barrier->Retire(index_);
  });
}

void Vcpu::JoinThread() {
  if (thread_.joinable()) thread_.join();
}

void Vcpu::Kick() {
  // The flag first: a signal that arrives before KVM_RUN is entered is then not lost.
  SetImmediateExit(run_, 1);
  kick_signal_.Send();
}

void Vcpu::TakeKick() {
  kicked_ = false;
  kick_signal_.Take();
}

void Vcpu::AfterParking() {
  if (kicked_) TakeKick();
}

void Vcpu::CompleteAccess() {
  // KVM takes the result of a PIO or MMIO exit at the next entry; with immediate_exit set it does so and
  // comes straight back (api.rst, KVM_RUN), with EINTR or with the next access of the same instruction.
  while (completion_pending_) {
    completion_pending_ = false;
    SetImmediateExit(run_, 1);
    const int result = ioctl(fd_, KVM_RUN, 0);
    const int error = errno;
    SetImmediateExit(run_, 0);
    if (result == 0 && run_->exit_reason == KVM_EXIT_IO) {
      HandlePortIo();
    } else if (result == 0 && run_->exit_reason == KVM_EXIT_MMIO) {
      HandleMmio();
    } else if (result == 0) {
      exit_left_over_ = true;
    } else if (error != EINTR) {
      LOG(WARNING) << "vCPU " << index_ << ": completing a device access failed: "
                   << std::strerror(error);
    }
  }
}

bool Vcpu::Settle() {
  for (;;) {
    if (exit_left_over_) {
      exit_left_over_ = false;
      if (!HandleExit()) return false;
    } else if (tell_when_complete_) {
      CompleteAccess();
      tell_when_complete_ = false;
      observer_->OnMmioComplete(*this);
    } else {
      return true;
    }
  }
}

absl::StatusOr<StepEnd> Vcpu::Step() {
  SaveState();
  const bool guest_traces = (registers_.regs.rflags & kTrapFlag) != 0;
  kvm_guest_debug step = guest_debug_;
  step.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ;
  if (ioctl(fd_, KVM_SET_GUEST_DEBUG, &step) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("KVM_SET_GUEST_DEBUG for a single step of vCPU ", index_));
  }
  int result;
  int error;
  // The guest's clocks are not told of it (GuestTime): a pause that a step is part of is hidden whole.
  do {
    // Who kicks has left word elsewhere (a task, a freeze), and is seen before the guest runs freely.
    SetImmediateExit(run_, 0);
    result = ioctl(fd_, KVM_RUN, 0);
    error = errno;
    exits_.fetch_add(1, std::memory_order_relaxed);
    if (result != 0) TakeKick();
  } while (result != 0 && (error == EINTR || error == EAGAIN));
  has_run_ = true;
  SaveState();
  const bool stepped = result == 0 && run_->exit_reason == KVM_EXIT_DEBUG;
  absl::Status restored = SetGuestDebug(guest_debug_);
  if (restored.ok() && guest_traces) {
    // KVM keeps the trap flag of a step and the guest's own in one place, and leaves none behind.
    kvm_regs regs = registers_.regs;
    regs.rflags |= kTrapFlag;
    restored = SetRegisters(regs);
    if (restored.ok() && stepped) restored = GiveTrace();
  }
  if (!restored.ok()) return restored;
  if (result == 0) {
    // Somebody else steps this vCPU, too.
    exit_left_over_ = !stepped || (guest_debug_.control & KVM_GUESTDBG_SINGLESTEP) != 0;
    return stepped ? StepEnd::kStepped : StepEnd::kOtherExit;
  }
  if (error == EFAULT) return StepEnd::kMemoryFault;
  return absl::ErrnoToStatus(error, absl::StrCat("KVM_RUN for a single step of vCPU ", index_));
}

bool Vcpu::GuestTraces() {
  if (context_.sync_registers && has_run_) {
    return (run_->s.regs.regs.rflags & kTrapFlag) != 0;
  }
  kvm_regs regs;
  return ioctl(fd_, KVM_GET_REGS, &regs) == 0 && (regs.rflags & kTrapFlag) != 0;
}

absl::Status Vcpu::GiveTrace() {
  // DR6 says why; KVM does not set it for an exception that is injected here.
  kvm_debugregs debug_regs;
  if (ioctl(fd_, KVM_GET_DEBUGREGS, &debug_regs) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_GET_DEBUGREGS on vCPU ", index_));
  }
  debug_regs.dr6 |= kDr6SingleStep;
  if (ioctl(fd_, KVM_SET_DEBUGREGS, &debug_regs) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_SET_DEBUGREGS on vCPU ", index_));
  }
  kvm_guest_debug inject = guest_debug_;
  inject.control |= KVM_GUESTDBG_INJECT_DB;
  return SetGuestDebug(inject);
}

absl::Status Vcpu::DropQueuedException(uint8_t vector) {
  kvm_vcpu_events events;
  if (ioctl(fd_, KVM_GET_VCPU_EVENTS, &events) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_GET_VCPU_EVENTS on vCPU ", index_));
  }
  if (events.exception.nr != vector ||
      (events.exception.injected == 0 && events.exception.pending == 0)) {
    return absl::OkStatus();
  }
  events.exception = {};
  if (ioctl(fd_, KVM_SET_VCPU_EVENTS, &events) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_SET_VCPU_EVENTS on vCPU ", index_));
  }
  return absl::OkStatus();
}

void Vcpu::SaveState() {
  CompleteAccess();
  if (context_.sync_registers && has_run_) {
    registers_.regs = run_->s.regs.regs;
    registers_.sregs = run_->s.regs.sregs;
    return;
  }
  if (ioctl(fd_, KVM_GET_REGS, &registers_.regs) != 0 ||
      ioctl(fd_, KVM_GET_SREGS, &registers_.sregs) != 0) {
    PLOG(ERROR) << "vCPU " << index_ << ": reading registers";
  }
}

absl::Status Vcpu::SetRegisters(const kvm_regs& regs) {
  if (ioctl(fd_, KVM_SET_REGS, &regs) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_SET_REGS on vCPU ", index_));
  }
  run_->s.regs.regs = regs;
  registers_.regs = regs;
  return absl::OkStatus();
}

absl::Status Vcpu::SetSpecialRegisters(const kvm_sregs& sregs) {
  if (ioctl(fd_, KVM_SET_SREGS, &sregs) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_SET_SREGS on vCPU ", index_));
  }
  run_->s.regs.sregs = sregs;
  registers_.sregs = sregs;
  return absl::OkStatus();
}

absl::Status Vcpu::SetGuestDebug(const kvm_guest_debug& debug) {
  if (ioctl(fd_, KVM_SET_GUEST_DEBUG, &debug) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_SET_GUEST_DEBUG on vCPU ", index_));
  }
  guest_debug_ = debug;
  guest_debug_.control &= ~uint32_t{KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP};
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Vcpu::ReadMsr(uint32_t index) {
  kvm_msr_entry wanted = {};
  wanted.index = index;
  KvmFlexible<kvm_msr_entry> msrs(absl::MakeConstSpan(&wanted, 1));
  if (ioctl(fd_, kKvmGetMsrs, msrs.data()) != 1) {
    return absl::ErrnoToStatus(errno != 0 ? errno : EINVAL,
                               absl::StrFormat("KVM_GET_MSRS %#x on vCPU %d", index, index_));
  }
  return msrs.entry(0).data;
}

void Vcpu::Loop(PauseBarrier* barrier) {
  while (!stop_) {
    if (!barrier->EnterGuest(index_)) {
      barrier->AwaitTurn(index_);
      if (!Settle()) return;
      continue;
    }
    if (context_.guest_time != nullptr) context_.guest_time->EnterGuest(index_);
    if (kicked_) TakeKick();  // no freeze came of it
    const int result = ioctl(fd_, KVM_RUN, 0);
    const int error = errno;
    if (context_.guest_time != nullptr) context_.guest_time->LeftGuest(index_);
    barrier->LeaveGuest(index_);
    kicked_ = result != 0 || ImmediateExit(run_);
    SetImmediateExit(run_, 0);
    completion_pending_ = false;
    has_run_ = true;
    exits_.fetch_add(1, std::memory_order_relaxed);
    if (result == 0) {
      if (!HandleExit() || !Settle()) return;
      if (context_.guest_ended != nullptr && context_.guest_ended->load()) return;
      continue;
    }
    if (error == EINTR || error == EAGAIN) continue;
    if (error == EFAULT && observer_ != nullptr && observer_->OnMemoryFault(*this)) {
      if (!Settle()) return;
      continue;
    }
    SaveState();
    FailRun(RunEndKind::kInternalError,
            absl::StrFormat("KVM_RUN of vCPU %d failed at pc %#x: %s", index_, registers_.pc(),
                            std::strerror(error)));
    return;
  }
}

bool Vcpu::HandleExit() {
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      HandlePortIo();
      return true;
    case KVM_EXIT_MMIO:
      HandleMmio();
      return true;
    case KVM_EXIT_DEBUG:
      if (observer_ != nullptr) {
        observer_->OnDebugExit(*this, run_->debug.arch);
        return true;
      }
      FailRun(RunEndKind::kInternalError, "a debug exit with no debugger attached");
      return false;
    case KVM_EXIT_INTR:
    case KVM_EXIT_HLT:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return true;
    case KVM_EXIT_SHUTDOWN:
      SaveState();
      FailRun(RunEndKind::kTripleFault,
              absl::StrFormat("vCPU %d shut down at pc %#x", index_, registers_.pc()));
      return false;
    case KVM_EXIT_SYSTEM_EVENT:
      FailRun(run_->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? RunEndKind::kPowerOff
                                                                  : RunEndKind::kReset,
              "KVM system event");
      return false;
    case KVM_EXIT_INTERNAL_ERROR: {
      const uint32_t suberror = run_->internal.suberror;
      std::string explanation;
      if (observer_ != nullptr && observer_->OnInternalError(*this, explanation)) return true;
      exit_left_over_ = false;
      SaveState();
      FailRun(RunEndKind::kInternalError,
              absl::StrFormat("vCPU %d: KVM internal error, suberror %d (1: an instruction it could "
                              "not emulate) at pc %#x%s%s",
                              index_, suberror, registers_.pc(), explanation.empty() ? "" : ". ",
                              explanation));
      return false;
    }
    case KVM_EXIT_FAIL_ENTRY:
      SaveState();
      FailRun(RunEndKind::kInternalError,
              absl::StrFormat("vCPU %d: the processor refused to enter the guest, reason %#x, pc %#x",
                              index_, run_->fail_entry.hardware_entry_failure_reason,
                              registers_.pc()));
      return false;
    default:
      SaveState();
      FailRun(RunEndKind::kInternalError,
              absl::StrFormat("vCPU %d: KVM exit %d, which is not handled, at pc %#x", index_,
                              run_->exit_reason, registers_.pc()));
      return false;
  }
}

void Vcpu::HandlePortIo() {
  uint8_t* data = reinterpret_cast<uint8_t*>(run_) + run_->io.data_offset;
  const size_t size = run_->io.size;
  // A string instruction moves `count` items through one port.
  for (uint32_t i = 0; i < run_->io.count; ++i, data += size) {
    if (run_->io.direction == KVM_EXIT_IO_OUT) {
      context_.pio->Write(run_->io.port, absl::MakeConstSpan(data, size));
    } else {
      context_.pio->Read(run_->io.port, absl::MakeSpan(data, size));
    }
  }
  completion_pending_ = true;
}

void Vcpu::HandleMmio() {
  const auto data = absl::MakeSpan(run_->mmio.data, run_->mmio.len);
  const uint64_t gpa = run_->mmio.phys_addr;
  completion_pending_ = true;
  if (observer_ != nullptr && observer_->OnMmio(*this, gpa, data, run_->mmio.is_write != 0)) return;
  if (run_->mmio.is_write) {
    context_.mmio->Write(gpa, data);
  } else {
    context_.mmio->Read(gpa, data);
  }
}

void Vcpu::FailRun(RunEndKind kind, const std::string& detail) { context_.request_end(kind, detail); }

}  // namespace watchsnap
