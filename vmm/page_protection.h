// PageProtection: makes pages of guest memory trap the guest's stores, in one of two ways.
//
// Read-only memslots (SetReadOnly): a store exits with KVM_EXIT_MMIO, with address and data, and has
// not happened: whoever handles it writes the data through GuestMemory. KVM emulates the instruction,
// so a read-modify-write is not atomic against other vCPUs. KVM cannot flip KVM_MEM_READONLY of a
// memslot in place: the memslots around the pages are deleted and added anew, and meanwhile the guest
// has no memory there.
//
// Host protection (SetHostProtected): the first time the guest's memory is moved to a memfd and KVM's memslots
// to a second mapping of it, of which single pages lose their write permission. A store of the guest then fails KVM_RUN
// with EFAULT and has not happened; the VMM's own accesses (devices, GuestMemory) go through the first
// mapping and do not notice. Some hosts answer with KVM_EXIT_MMIO instead.
//
// In both ways reads go on at full speed, and stores by KVM itself (kvmclock, steal time) and by the
// processor's page walks and exception deliveries to such a page fail or end in an emulation error.
//
// Threads: only while all vCPUs are frozen (or not started), by whoever holds the freeze: the freeze
// is the lock. Units: guest-physical addresses of whole 4 KiB pages.
// Errors: OutOfRange for what is no RAM; else the ioctl or system call that failed, and then nothing
// has changed. Where even going back fails the guest has lost memory: Internal, and the run is over.
// Source: Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION.
#ifndef WATCHSNAP_VMM_PAGE_PROTECTION_H_
#define WATCHSNAP_VMM_PAGE_PROTECTION_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "vmm/event_loop.h"
#include "vmm/guest_memory.h"
#include "vmm/vm.h"

namespace watchsnap {

inline constexpr uint64_t kGuestPageSize = 4096;

class PageProtection {
 public:
  // After Vm::MapMemory(*memory). All outlive it. `devices` is the thread that writes to the memory besides the
  // vCPUs; it must not wait for a freeze.
  PageProtection(Vm* vm, GuestMemory* memory, EventLoop* devices);
  ~PageProtection();
  PageProtection(const PageProtection&) = delete;
  PageProtection& operator=(const PageProtection&) = delete;

  // Whether this KVM has read-only memslots.
  bool HasReadOnlyMemslots() const;
  // From here on exactly `pages` (sorted, no page twice) are read-only memslots. Allocates.
  absl::Status SetReadOnly(absl::Span<const uint64_t> pages);
  // Takes the guest's write permission for `pages`, or gives it back. Allocates only the first time,
  // which takes as long as GuestMemory::MoveToMemfd.
  absl::Status SetHostProtected(absl::Span<const uint64_t> pages, bool is_protected);

 private:
  struct Memslot {
    uint32_t id = 0;
    uint64_t gpa = 0;
    uint64_t size = 0;
    uint8_t* host = nullptr;
    bool read_only = false;

    bool SameAs(const Memslot& other) const {
      return gpa == other.gpa && size == other.size && host == other.host &&
             read_only == other.read_only;
    }
  };
  uint8_t* KvmAddress(const MemoryRegion& region) const;
  std::vector<Memslot> Layout(absl::Span<const uint64_t> read_only_pages) const;
  absl::Status Change(std::vector<Memslot> wanted);
  absl::Status Set(const Memslot& memslot);
  absl::Status Delete(const Memslot& memslot);
  absl::Status UseOwnMapping();
  // MoveToMemfd while the devices' thread is kept waiting.
  absl::Status MoveMemory();

  Vm* const vm_;
  GuestMemory* const memory_;
  EventLoop* const devices_;
  uint8_t* own_mapping_ = nullptr;  // of the whole memfd, once KVM has one of its own
  std::vector<uint64_t> read_only_;
  std::vector<Memslot> memslots_;  // as KVM has them
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_PAGE_PROTECTION_H_
