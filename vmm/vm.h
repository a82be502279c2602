// Vm: the KVM virtual machine's file descriptor and what hangs on it: memslots, the in-kernel
// interrupt controllers, interrupt routing, irqfd and ioeventfd. KVM API:
// Documentation/virt/kvm/api.rst.
//
// Threads: interrupt methods from any thread. Memslots are set before vCPUs run, and changed by
// PageProtection while all are frozen.
// Errors: Status with the name of the ioctl that failed and what to do where that is known.
#ifndef WATCHSNAP_VMM_VM_H_
#define WATCHSNAP_VMM_VM_H_

#include <linux/kvm.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "vmm/device_host.h"
#include "vmm/guest_memory.h"

namespace watchsnap {

class Vm {
 public:
  // Opens `kvm_path` (normally /dev/kvm) and creates an empty VM with in-kernel interrupt controllers.
  static absl::StatusOr<std::unique_ptr<Vm>> Create(const std::string& kvm_path);
  ~Vm();
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  int fd() const { return fd_; }
  int kvm_fd() const { return kvm_fd_; }
  int vcpu_mmap_size() const { return vcpu_mmap_size_; }
  // KVM_CHECK_EXTENSION on the VM: 0 where the host lacks it.
  int Capability(int capability) const;
  absl::StatusOr<std::vector<kvm_cpuid_entry2>> SupportedCpuid() const;

  // One memslot a region, numbered from 0.
  absl::Status MapMemory(const GuestMemory& memory);
  // KVM_SET_USER_MEMORY_REGION; a size of 0 deletes the memslot. Only while no vCPU runs.
  absl::Status SetMemslot(const kvm_userspace_memory_region& memslot);

  absl::StatusOr<std::unique_ptr<Interrupt>> CreateInterrupt(uint32_t gsi);
  absl::StatusOr<std::unique_ptr<MsiInterrupt>> CreateMsiInterrupt();
  absl::StatusOr<std::unique_ptr<IoEvent>> RegisterIoEvent(uint64_t gpa, int eventfd);

  // The VM's clock in nanoseconds (KVM_GET_CLOCK); any thread.
  absl::StatusOr<uint64_t> ClockNs() const;

 private:
  friend class IrqFdMsi;
  Vm() = default;
  absl::Status SetMsiRoute(uint32_t gsi, uint64_t address, uint32_t data);
  absl::Status CommitRoutes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  int kvm_fd_ = -1;
  int fd_ = -1;
  int vcpu_mmap_size_ = 0;
  absl::Mutex mutex_;
  // The whole routing table: KVM_SET_GSI_ROUTING replaces it each time.
  std::vector<kvm_irq_routing_entry> routes_ ABSL_GUARDED_BY(mutex_);
  uint32_t next_msi_gsi_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_VM_H_
