// PageWalkCache: ReadVirtualPrefix for many small reads of a guest that stands still: pages that were walked
// to are remembered.
//
//   cache.Forget();                                    // at each freeze: the guest may have changed its tables
//   cache.ReadPrefix(memory, paging, va, out);         // like ReadVirtualPrefix
//
// A software TLB, direct mapped, of 4 KiB pages, and the large pages met last (a kernel's image and direct map are made
// of such). Nothing is carried from one freeze to the next: to check an entry
// against the tables costs as much as to walk them, and while the guest stands no entry can go stale.
//
// Threads: one at a time (whoever leads the freeze). Allocates nothing. Guest input as in page_walk.h.
#ifndef WATCHSNAP_VMM_X86_64_PAGE_WALK_CACHE_H_
#define WATCHSNAP_VMM_X86_64_PAGE_WALK_CACHE_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "vmm/guest_memory.h"
#include "vmm/virtual_piece.h"
#include "vmm/x86_64/page_walk.h"

namespace watchsnap {

class PageWalkCache {
 public:
  void Forget() {
    ++generation_;
    for (VirtualPiece& page : large_) page.size = 0;
  }

  // As ReadVirtualPrefix, by the tables of `paging`; other tables than in the call before make it forget.
  size_t ReadPrefix(const GuestMemory& memory, const PagingState& paging, uint64_t va,
                    absl::Span<uint8_t> out);

  // The page around `va`, if it is remembered, by the tables of the last ReadPrefix. Good until Forget.
  VirtualPiece Find(uint64_t va) const;

  // Walks of tables so far, for tests.
  uint64_t walks() const { return walks_; }

 private:
  static constexpr size_t kEntries = 256;
  struct Entry {
    uint64_t page = 0;
    uint64_t generation = 0;  // 0: never filled
    const uint8_t* host = nullptr;
  };
  const VirtualPiece* FindLarge(uint64_t va) const {
    for (const VirtualPiece& page : large_) {
      if (va - page.va < page.size) return &page;
    }
    return nullptr;
  }

  std::array<VirtualPiece, 4> large_;
  size_t next_large_ = 0;
  std::array<Entry, kEntries> entries_;
  uint64_t generation_ = 1;
  uint64_t cr3_ = 0;
  uint64_t walks_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_PAGE_WALK_CACHE_H_
