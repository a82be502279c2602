// Guest-virtual addresses to guest-physical ones, by the guest's own page tables.
//
// 64-bit paging with 4 or 5 levels and pages of 4 KiB, 2 MiB or 1 GiB; with paging off, the
// identity. 32-bit and PAE paging outside long mode are not translated. Threads: any; the tables
// may change meanwhile, each entry is read once. TranslateVirtual and ReadVirtualPrefix do not
// allocate or lock: usable while the guest is frozen and on the vCPU that leads a freeze. Guest
// input: tables are hostile. Every entry is bounds-checked, a walk is at most 5 reads. Units:
// addresses and sizes in bytes. Source: Intel SDM vol. 3 §4.5.
#ifndef WATCHSNAP_VMM_X86_64_PAGE_WALK_H_
#define WATCHSNAP_VMM_X86_64_PAGE_WALK_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "vmm/guest_memory.h"

namespace watchsnap {

// The registers that select and configure the tables, as KVM_GET_SREGS gives them.
struct PagingState {
  uint64_t cr0 = 0;
  uint64_t cr3 = 0;
  uint64_t cr4 = 0;
  uint64_t efer = 0;
};

struct Translation {
  uint64_t gpa = 0;        // may lie outside RAM: a device
  uint64_t page_size = 0;  // 4 KiB, 2 MiB or 1 GiB
  bool writable = false;   // by all levels; CR0.WP, SMAP and keys are not looked at
  bool user = false;
  bool executable = false;
};

// Nothing where the address is not canonical, not mapped, or mapped by an entry with reserved bits.
std::optional<Translation> TranslateVirtual(const GuestMemory& memory, const PagingState& paging,
                                            uint64_t va);

// Copies from `va` on, across pages, until something is not mapped to RAM; returns how many bytes.
size_t ReadVirtualPrefix(const GuestMemory& memory, const PagingState& paging, uint64_t va,
                         absl::Span<uint8_t> out);

// All of `out`, or NotFound that names the first address that could not be read.
absl::Status ReadVirtual(const GuestMemory& memory, const PagingState& paging, uint64_t va,
                         absl::Span<uint8_t> out);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_PAGE_WALK_H_
