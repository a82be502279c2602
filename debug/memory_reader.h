// MemoryReader: guest-virtual memory as somebody who walks kernel structures wants it. The same walk
// runs twice: over the frozen guest, where what it reads is recorded as evidence, and later over that
// evidence, to render it. A walk that finds its bytes the first time finds them the second.
//
// Threads: as the implementation says; one walker at a time.
// Errors: none but "no": not mapped, not RAM, not copied, or no room left for evidence. Guest memory
// is hostile: whoever walks bounds the walk (lists, depths, counts) whatever the bytes say.
// Units: run-time kernel virtual addresses, bytes.
#ifndef WATCHSNAP_DEBUG_MEMORY_READER_H_
#define WATCHSNAP_DEBUG_MEMORY_READER_H_

#include <cstdint>

#include "absl/types/span.h"

namespace watchsnap {

class MemoryReader {
 public:
  virtual ~MemoryReader() = default;

  // All of `out` from `kva`, or false. Allocates nothing: it is called while the guest is frozen.
  virtual bool Read(uint64_t kva, absl::Span<uint8_t> out) = 0;
  // Takes [kva, kva + length) along without handing out the bytes (a map's values): how many of them
  // are there, from the first. A reader of evidence answers how many it has.
  virtual uint64_t Take(uint64_t kva, uint64_t length) = 0;

  // A little-endian number.
  template <typename T>
  bool Load(uint64_t kva, T& value) {
    return Read(kva, absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof value));
  }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_MEMORY_READER_H_
