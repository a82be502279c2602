// A C string of the guest, into room that the caller has.
//
// It is read in aligned pieces, so that one that ends at the end of what is mapped is read as far as
// it goes, and a walk over the evidence finds what the walk over the guest read.
// Threads: a pure function; allocates nothing. Bytes are as they stood there.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_GUEST_TEXT_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_GUEST_TEXT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/types/span.h"
#include "debug/memory_reader.h"

namespace watchsnap {

template <size_t N>
struct GuestText {
  std::array<char, N> bytes = {};
  size_t size = 0;
  bool known = false;  // it was read
  bool cut = false;    // it goes on

  std::string_view view() const { return std::string_view(bytes.data(), size); }
};

// Up to the first NUL or the end of `out`; false where not even its first byte can be read.
bool ReadGuestText(MemoryReader& reader, uint64_t kva, absl::Span<char> out, size_t& size,
                   bool& cut);

template <size_t N>
bool ReadGuestText(MemoryReader& reader, uint64_t kva, GuestText<N>& text) {
  text.known = ReadGuestText(reader, kva, absl::MakeSpan(text.bytes), text.size, text.cut);
  return text.known;
}

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_GUEST_TEXT_H_
