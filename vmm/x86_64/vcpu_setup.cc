#include "vmm/x86_64/vcpu_setup.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "vmm/kvm_flexible.h"
#include "vmm/x86_64/cpu_state.h"
#include "vmm/x86_64/cpuid.h"

namespace watchsnap {
namespace {

// Stacks of bare guests: between the boot tables and the end of conventional memory.
constexpr uint64_t kBareStackBase = 0x4'0000;
constexpr uint64_t kBareStackSize = 0x1000;

absl::Status Failed(const char* what, int vcpu) {
  return absl::ErrnoToStatus(errno, absl::StrCat(what, " on vCPU ", vcpu));
}

absl::Status SetCpuid(Vm& vm, const CpuTopology& topology, Vcpu& vcpu) {
  absl::StatusOr<std::vector<kvm_cpuid_entry2>> supported = vm.SupportedCpuid();
  if (!supported.ok()) return supported.status();
  CpuidOptions options;
  options.topology = topology;
  options.tsc_deadline = vm.Capability(KVM_CAP_TSC_DEADLINE_TIMER) != 0;
  const int khz = ioctl(vcpu.fd(), KVM_GET_TSC_KHZ, 0);
  if (khz > 0) options.tsc_khz = static_cast<uint32_t>(khz);
  const std::vector<kvm_cpuid_entry2> entries = GuestCpuid(*supported, options, vcpu.index());
  KvmFlexible<kvm_cpuid_entry2> cpuid(entries);
  if (ioctl(vcpu.fd(), kKvmSetCpuid2, cpuid.data()) != 0) {
    return Failed("KVM_SET_CPUID2", vcpu.index());
  }
  return absl::OkStatus();
}

absl::Status SetFpuAndMsrs(Vcpu& vcpu) {
  const kvm_fpu fpu = InitialFpu();
  if (ioctl(vcpu.fd(), KVM_SET_FPU, &fpu) != 0) return Failed("KVM_SET_FPU", vcpu.index());
  const std::vector<kvm_msr_entry> entries = InitialMsrs();
  KvmFlexible<kvm_msr_entry> msrs(entries);
  // KVM stops at the first MSR it does not know; those here only describe what is so anyway.
  if (ioctl(vcpu.fd(), kKvmSetMsrs, msrs.data()) < 0) return Failed("KVM_SET_MSRS", vcpu.index());
  return absl::OkStatus();
}

absl::Status EnterLongModeAt(Vcpu& vcpu, const kvm_regs& regs) {
  kvm_sregs sregs;
  if (ioctl(vcpu.fd(), KVM_GET_SREGS, &sregs) != 0) return Failed("KVM_GET_SREGS", vcpu.index());
  SetLongMode(&sregs);
  if (ioctl(vcpu.fd(), KVM_SET_SREGS, &sregs) != 0) return Failed("KVM_SET_SREGS", vcpu.index());
  return vcpu.SetRegisters(regs);
}

}  // namespace

absl::Status SetUpLinuxVcpus(Vm& vm, const CpuTopology& topology, const BootEntry& entry,
                             VcpuList& vcpus) {
  for (auto& vcpu : vcpus) {
    absl::Status status = SetCpuid(vm, topology, *vcpu);
    if (status.ok()) status = SetFpuAndMsrs(*vcpu);
    if (!status.ok()) return status;
  }
  return EnterLongModeAt(*vcpus[0], LinuxEntryRegs(entry));
}

absl::Status SetUpBareVcpus(Vm& vm, const GuestMemory& memory, const CpuTopology& topology,
                            uint64_t entry, int started, VcpuList& vcpus) {
  absl::Status status = WriteBootTables(memory);
  if (!status.ok()) return status;
  for (auto& vcpu : vcpus) {
    const int index = vcpu->index();
    status = SetCpuid(vm, topology, *vcpu);
    if (status.ok()) status = SetFpuAndMsrs(*vcpu);
    if (!status.ok()) return status;
    if (index >= started) continue;
    const uint64_t stack = kBareStackBase + (static_cast<uint64_t>(index) + 1) * kBareStackSize;
    status = EnterLongModeAt(*vcpu, BareGuestRegs(entry, stack, static_cast<uint64_t>(index)));
    if (!status.ok()) return status;
    kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
    if (ioctl(vcpu->fd(), KVM_SET_MP_STATE, &runnable) != 0) {
      return Failed("KVM_SET_MP_STATE", index);
    }
  }
  return absl::OkStatus();
}

}  // namespace watchsnap
