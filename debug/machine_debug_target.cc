#include "debug/machine_debug_target.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/x86_64/page_walk.h"

namespace watchsnap {
namespace {

constexpr uint64_t kPageSize = 4096;

// Linux with page-table isolation keeps a process's kernel and user tables in one aligned pair of
// pages and switches between them by this bit of CR3 (arch/x86/include/asm/pgtable.h,
// PTI_PGTABLE_SWITCH_BIT); the user's tables lack the kernel's data.
constexpr uint64_t kUserTablesBit = 1u << 12;

std::optional<uint64_t> Translate(const GuestMemory& memory, const VcpuRegisters& registers,
                                  uint64_t kva) {
  PagingState paging = {.cr0 = registers.sregs.cr0,
                        .cr3 = registers.sregs.cr3,
                        .cr4 = registers.sregs.cr4,
                        .efer = registers.sregs.efer};
  std::optional<Translation> found = TranslateVirtual(memory, paging, kva);
  if (!found.has_value() && (paging.cr3 & kUserTablesBit) != 0 && registers.user_mode()) {
    paging.cr3 &= ~kUserTablesBit;
    found = TranslateVirtual(memory, paging, kva);
  }
  if (!found.has_value()) return std::nullopt;
  return found->gpa;
}

}  // namespace

absl::Status MachineDebugTarget::RunOnVcpu(int vcpu, std::function<absl::Status()> task) {
  return machine_->RunOnVcpu(vcpu, [&task](Vcpu&) { return task(); });
}

absl::Status MachineDebugTarget::SetGuestDebug(int vcpu, const kvm_guest_debug& debug) {
  return machine_->vcpu(vcpu).SetGuestDebug(debug);
}

absl::StatusOr<kvm_debugregs> MachineDebugTarget::GetDebugRegs(int vcpu) {
  kvm_debugregs regs = {};
  if (ioctl(machine_->vcpu(vcpu).fd(), KVM_GET_DEBUGREGS, &regs) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_GET_DEBUGREGS on vCPU ", vcpu));
  }
  return regs;
}

absl::Status MachineDebugTarget::SetDebugRegs(int vcpu, const kvm_debugregs& regs) {
  if (ioctl(machine_->vcpu(vcpu).fd(), KVM_SET_DEBUGREGS, &regs) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_SET_DEBUGREGS on vCPU ", vcpu));
  }
  return absl::OkStatus();
}

absl::Status MachineDebugTarget::WhileFrozen(std::function<absl::Status()> task) {
  if (machine_->start_time() == absl::InfinitePast()) return task();
  absl::StatusOr<FrozenVcpus> frozen = machine_->Freeze(kFreezeDeadline);
  if (!frozen.ok()) return frozen.status();
  return task();
}

uint8_t* MachineDebugTarget::HostAddress(int vcpu, uint64_t kva, uint64_t length) {
  if (length == 0 || kva + (length - 1) < kva) return nullptr;
  const VcpuRegisters& registers = Registers(vcpu);
  uint8_t* first = nullptr;
  for (uint64_t done = 0; done < length;) {
    const uint64_t in_page = std::min(length - done, kPageSize - (kva + done) % kPageSize);
    const std::optional<uint64_t> gpa = Translate(machine_->memory(), registers, kva + done);
    uint8_t* host = gpa.has_value() ? machine_->memory().HostAddress(*gpa, in_page) : nullptr;
    if (host == nullptr || (first != nullptr && host != first + done)) return nullptr;
    if (first == nullptr) first = host;
    done += in_page;
  }
  return first;
}

const VcpuRegisters& MachineDebugTarget::Registers(int vcpu) {
  return machine_->vcpu(vcpu).registers();
}

void MachineDebugTarget::SaveRegisters(int vcpu) { machine_->vcpu(vcpu).SaveState(); }

std::string MachineDebugTarget::FunctionAt(uint64_t pc) {
  absl::MutexLock lock(&mutex_);
  return function_names_ ? function_names_(pc) : "";
}

void MachineDebugTarget::SetFunctionNames(std::function<std::string(uint64_t pc)> name_of) {
  absl::MutexLock lock(&mutex_);
  function_names_ = std::move(name_of);
}

std::optional<uint64_t> MachineDebugTarget::GuestPhysical(int vcpu, uint64_t kva) {
  return Translate(machine_->memory(), Registers(vcpu), kva);
}

uint8_t* MachineDebugTarget::HostOfPhysical(uint64_t gpa, uint64_t length) {
  return machine_->memory().HostAddress(gpa, length);
}

absl::Status MachineDebugTarget::SetReadOnlyPages(absl::Span<const uint64_t> pages) {
  return machine_->page_protection().SetReadOnly(pages);
}

absl::Status MachineDebugTarget::SetHostProtected(absl::Span<const uint64_t> pages, bool on) {
  return machine_->page_protection().SetHostProtected(pages, on);
}

absl::Status MachineDebugTarget::LeadFrozen(int vcpu, absl::FunctionRef<absl::Status()> task) {
  for (;;) {
    absl::StatusOr<FrozenVcpus> frozen = machine_->barrier().TryLead(vcpu, kFreezeDeadline);
    if (frozen.ok()) return task();
    if (!absl::IsUnavailable(frozen.status())) return frozen.status();
    machine_->barrier().Park(vcpu);
  }
}

absl::StatusOr<StepEnd> MachineDebugTarget::Step(int vcpu) { return machine_->vcpu(vcpu).Step(); }

absl::Status MachineDebugTarget::DropQueuedException(int vcpu, uint8_t vector) {
  return machine_->vcpu(vcpu).DropQueuedException(vector);
}

}  // namespace watchsnap
