#include "debug/kernel/scx/guest_text.h"

#include <algorithm>
#include <cstring>

namespace watchsnap {
namespace {

constexpr size_t kPiece = 64;  // never over the end of a page

}  // namespace

bool ReadGuestText(MemoryReader& reader, uint64_t kva, absl::Span<char> out, size_t& size,
                   bool& cut) {
  size = 0;
  cut = false;
  while (size < out.size()) {
    const uint64_t at = kva + size;
    const size_t length = std::min<size_t>(kPiece - at % kPiece, out.size() - size);
    char* piece = out.data() + size;
    if (!reader.Read(at, absl::MakeSpan(reinterpret_cast<uint8_t*>(piece), length))) {
      cut = true;
      return size != 0;
    }
    const void* nul = std::memchr(piece, 0, length);
    if (nul != nullptr) {
      size += static_cast<size_t>(static_cast<const char*>(nul) - piece);
      return true;
    }
    size += length;
  }
  cut = true;
  return true;
}

}  // namespace watchsnap
