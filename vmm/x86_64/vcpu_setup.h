// Puts vCPUs into the state in which they start: CPUID, registers, FPU, MSRs, multiprocessor state.
//
// Called once by Machine::Create, on its thread, before the vCPU threads start.
// Errors: what KVM refused, with the ioctl and the vCPU.
#ifndef WATCHSNAP_VMM_X86_64_VCPU_SETUP_H_
#define WATCHSNAP_VMM_X86_64_VCPU_SETUP_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "vmm/boot/cpu_topology.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/guest_memory.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

namespace watchsnap {

using VcpuList = std::vector<std::unique_ptr<Vcpu>>;

// vCPU 0 at the kernel's entry; the others wait for the kernel's start-up IPI.
absl::Status SetUpLinuxVcpus(Vm& vm, const CpuTopology& topology, const BootEntry& entry,
                             VcpuList& vcpus);

// The first `started` vCPUs at `entry`, index in RDI, each with 4 KiB of stack in low memory; the others
// wait for a start-up IPI.
absl::Status SetUpBareVcpus(Vm& vm, const GuestMemory& memory, const CpuTopology& topology,
                            uint64_t entry, int started, VcpuList& vcpus);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_VCPU_SETUP_H_
