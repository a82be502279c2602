// APIC IDs of a topology: each level of CpuTopology takes whole bits of the ID, as CPUID leaf 0xB
// wants it (Intel SDM vol. 3 §9.9), so an ID can be larger than the vCPU's index.
// KVM takes the ID given to KVM_CREATE_VCPU as the APIC ID: use ApicId() there.
// Pure functions, any thread.
#ifndef WATCHSNAP_VMM_X86_64_CPUID_APIC_ID_H_
#define WATCHSNAP_VMM_X86_64_CPUID_APIC_ID_H_

#include <cstdint>

#include "vmm/boot/cpu_topology.h"

namespace watchsnap {

// How far an APIC ID is shifted right to name the core, the LLC and the package (the NUMA node).
struct ApicIdShifts {
  int core = 0;
  int llc = 0;
  int package = 0;
};

inline int BitsFor(int count) {
  int bits = 0;
  while ((1 << bits) < count) ++bits;
  return bits;
}

inline ApicIdShifts ShiftsOf(const CpuTopology& topology) {
  ApicIdShifts shifts;
  shifts.core = BitsFor(topology.threads_per_core);
  shifts.llc = shifts.core + BitsFor(topology.cores_per_llc);
  shifts.package = shifts.llc + BitsFor(topology.llcs_per_node);
  return shifts;
}

inline uint32_t ApicId(const CpuTopology& topology, int index) {
  const ApicIdShifts shifts = ShiftsOf(topology);
  const int thread = index % topology.threads_per_core;
  const int core = index / topology.threads_per_core % topology.cores_per_llc;
  const int llc =
      index / (topology.threads_per_core * topology.cores_per_llc) % topology.llcs_per_node;
  return static_cast<uint32_t>(topology.node_of(index) << shifts.package | llc << shifts.llc |
                               core << shifts.core | thread);
}

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_CPUID_APIC_ID_H_
