#include "vmm/x86_64/page_walk_cache.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace watchsnap {
namespace {

constexpr uint64_t kPage = 4096;

}  // namespace

size_t PageWalkCache::ReadPrefix(const GuestMemory& memory, const PagingState& paging, uint64_t va,
                                 absl::Span<uint8_t> out) {
  if (paging.cr3 != cr3_) {
    cr3_ = paging.cr3;
    Forget();
  }
  size_t done = 0;
  while (done < out.size()) {
    const uint64_t at = va + done;
    const uint64_t offset = at % kPage;
    uint64_t length = std::min<uint64_t>(out.size() - done, kPage - offset);
    Entry& entry = entries_[at / kPage % kEntries];
    const uint8_t* from = nullptr;
    if (entry.page == at / kPage && entry.generation == generation_) {
      from = entry.host + offset;
    } else {
      ++walks_;
      const std::optional<Translation> found = TranslateVirtual(memory, paging, at);
      if (!found.has_value()) break;
      const uint8_t* page = memory.HostAddress(found->gpa - offset, kPage);
      // RAM is made of whole pages.
      if (page == nullptr) break;
      entry = {.page = at / kPage, .generation = generation_, .host = page};
      from = page + offset;
      // What goes on within a large page needs no further walk.
      const uint64_t whole =
          std::min<uint64_t>(out.size() - done, found->page_size - at % found->page_size);
      if (whole > length && memory.HostAddress(found->gpa, whole) != nullptr) length = whole;
    }
    std::memcpy(out.data() + done, from, length);
    done += length;
  }
  return done;
}

}  // namespace watchsnap
