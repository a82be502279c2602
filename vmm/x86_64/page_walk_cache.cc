#include "vmm/x86_64/page_walk_cache.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace watchsnap {
namespace {

constexpr uint64_t kPage = 4096;

}  // namespace

VirtualPiece PageWalkCache::Find(uint64_t va) const {
  if (const VirtualPiece* large = FindLarge(va)) return *large;
  const Entry& entry = entries_[va / kPage % kEntries];
  if (entry.page != va / kPage || entry.generation != generation_) return {};
  return {.va = va - va % kPage, .size = kPage, .host = entry.host};
}

size_t PageWalkCache::ReadPrefix(const GuestMemory& memory, const PagingState& paging, uint64_t va,
                                 absl::Span<uint8_t> out) {
  if (paging.cr3 != cr3_) {
    cr3_ = paging.cr3;
    Forget();
  }
  size_t done = 0;
  while (done < out.size()) {
    const uint64_t at = va + done;
    if (const VirtualPiece* large = FindLarge(at)) {
      const uint64_t length =
          std::min<uint64_t>(out.size() - done, large->size - (at - large->va));
      std::memcpy(out.data() + done, large->host + (at - large->va), length);
      done += length;
      continue;
    }
    const uint64_t offset = at % kPage;
    const uint64_t length = std::min<uint64_t>(out.size() - done, kPage - offset);
    Entry& entry = entries_[at / kPage % kEntries];
    const uint8_t* from = nullptr;
    if (entry.page == at / kPage && entry.generation == generation_) {
      from = entry.host + offset;
    } else {
      ++walks_;
      const std::optional<Translation> found = TranslateVirtual(memory, paging, at);
      if (!found.has_value()) break;
      if (found->page_size > kPage) {
        const uint64_t within = at % found->page_size;
        const uint8_t* host = memory.HostAddress(found->gpa - within, found->page_size);
        if (host != nullptr) {
          large_[next_large_] = {.va = at - within, .size = found->page_size, .host = host};
          next_large_ = (next_large_ + 1) % large_.size();
          continue;
        }
        // It begins or ends outside RAM: page by page.
      }
      const uint8_t* page = memory.HostAddress(found->gpa - offset, kPage);
      // RAM is made of whole pages.
      if (page == nullptr) break;
      entry = {.page = at / kPage, .generation = generation_, .host = page};
      from = page + offset;
    }
    std::memcpy(out.data() + done, from, length);
    done += length;
  }
  return done;
}

}  // namespace watchsnap
