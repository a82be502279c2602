#include "vmm/x86_64/page_walk.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

constexpr uint64_t kCr0Paging = 1ull << 31;
constexpr uint64_t kCr4FiveLevels = 1ull << 12;
constexpr uint64_t kEferLongModeActive = 1ull << 10;
constexpr uint64_t kEferNoExecuteEnable = 1ull << 11;

constexpr uint64_t kPresent = 1ull << 0;
constexpr uint64_t kWritable = 1ull << 1;
constexpr uint64_t kUser = 1ull << 2;
constexpr uint64_t kPageSize = 1ull << 7;
constexpr uint64_t kNoExecute = 1ull << 63;
constexpr uint64_t kAddressMask = 0x000f'ffff'ffff'f000;
constexpr uint64_t kLargePat = 1ull << 12;  // an attribute, not an address bit, in large pages

constexpr uint64_t kSmallPage = 4096;

bool IsCanonical(uint64_t va, int levels) {
  const int unused = 64 - (12 + 9 * levels);
  return static_cast<uint64_t>(static_cast<int64_t>(va << unused) >> unused) == va;
}

}  // namespace

std::optional<Translation> TranslateVirtual(const GuestMemory& memory, const PagingState& paging,
                                            uint64_t va) {
  if ((paging.cr0 & kCr0Paging) == 0) {
    if (va > 0xffff'ffff) return std::nullopt;
    return Translation{va, kSmallPage, true, true, true};
  }
  if ((paging.efer & kEferLongModeActive) == 0) return std::nullopt;
  const int levels = (paging.cr4 & kCr4FiveLevels) != 0 ? 5 : 4;
  if (!IsCanonical(va, levels)) return std::nullopt;

  Translation result = {0, 0, true, true, true};
  uint64_t table = paging.cr3 & kAddressMask;
  for (int level = levels; level >= 1; --level) {
    const int shift = 12 + 9 * (level - 1);
    const uint8_t* host = memory.HostAddress(table + (va >> shift & 511) * 8, 8);
    if (host == nullptr) return std::nullopt;
    // One load: the guest may be changing the entry.
    const uint64_t entry =
        __atomic_load_n(reinterpret_cast<const uint64_t*>(host), __ATOMIC_RELAXED);
    if ((entry & kPresent) == 0) return std::nullopt;
    if ((entry & kNoExecute) != 0 && (paging.efer & kEferNoExecuteEnable) == 0) return std::nullopt;
    result.writable &= (entry & kWritable) != 0;
    result.user &= (entry & kUser) != 0;
    result.executable &= (entry & kNoExecute) == 0;
    const bool large = level > 1 && (entry & kPageSize) != 0;
    if (large && level > 3) return std::nullopt;  // reserved
    if (level > 1 && !large) {
      table = entry & kAddressMask;
      continue;
    }
    result.page_size = 1ull << shift;
    uint64_t frame = entry & kAddressMask;
    if (large) frame &= ~kLargePat;
    if ((frame & (result.page_size - 1)) != 0) return std::nullopt;  // reserved
    result.gpa = frame | (va & (result.page_size - 1));
    return result;
  }
  return std::nullopt;
}

size_t ReadVirtualPrefix(const GuestMemory& memory, const PagingState& paging, uint64_t va,
                         absl::Span<uint8_t> out) {
  size_t done = 0;
  while (done < out.size()) {
    const uint64_t at = va + done;
    const std::optional<Translation> page = TranslateVirtual(memory, paging, at);
    if (!page) break;
    uint64_t length = std::min<uint64_t>(out.size() - done, page->page_size - at % page->page_size);
    const uint8_t* host = memory.HostAddress(page->gpa, length);
    if (host == nullptr) {
      // A large page may begin in RAM and end outside.
      length = std::min<uint64_t>(length, kSmallPage - at % kSmallPage);
      host = memory.HostAddress(page->gpa, length);
      if (host == nullptr) break;
    }
    std::memcpy(out.data() + done, host, length);
    done += length;
  }
  return done;
}

absl::Status ReadVirtual(const GuestMemory& memory, const PagingState& paging, uint64_t va,
                         absl::Span<uint8_t> out) {
  const size_t done = ReadVirtualPrefix(memory, paging, va, out);
  if (done == out.size()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrFormat(
      "cannot read %d bytes of guest-virtual memory at %#x: %#x is not mapped to RAM "
      "(CR3 %#x)",
      out.size(), va, va + done, paging.cr3));
}

}  // namespace watchsnap
