// GuestCpuid: what CPUID tells one vCPU, made from what KVM supports on this host.
//
// Adds the vCPU's APIC ID and place in the topology and the clock frequencies; takes away what a
// guest of ours cannot use or would stumble over: nested virtualisation, SGX, processor trace, the
// PMU, and FRED (under it MSR_LSTAR stays 0, from which the KASLR slide is measured).
// Pure function, any thread. Units: kHz. Sources: Intel SDM vol. 2 CPUID; AMD APM vol. 3 appendix
// E; Documentation/virt/kvm/x86/cpuid.rst.
#ifndef WATCHSNAP_VMM_X86_64_CPUID_H_
#define WATCHSNAP_VMM_X86_64_CPUID_H_

#include <linux/kvm.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "vmm/boot/cpu_topology.h"

namespace watchsnap {

struct CpuidOptions {
  CpuTopology topology;
  bool tsc_deadline = false;  // KVM_CAP_TSC_DEADLINE_TIMER
  uint32_t tsc_khz = 0;       // KVM_GET_TSC_KHZ; 0: not known
};

// For KVM_SET_CPUID2 of vCPU `index`, whose KVM_CREATE_VCPU ID is ApicId(topology, index).
std::vector<kvm_cpuid_entry2> GuestCpuid(absl::Span<const kvm_cpuid_entry2> supported,
                                         const CpuidOptions& options, int index);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_CPUID_H_
