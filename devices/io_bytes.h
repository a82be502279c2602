// Little-endian registers as the byte spans of IoHandler carry them.
#ifndef WATCHSNAP_DEVICES_IO_BYTES_H_
#define WATCHSNAP_DEVICES_IO_BYTES_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"

namespace watchsnap {

static_assert(std::endian::native == std::endian::little,
              "guest and host are both little-endian: PCI, virtio and x86/arm64 Linux");

// The first 8 bytes at most.
inline uint64_t LoadLittleEndian(absl::Span<const uint8_t> in) {
  uint64_t value = 0;
  std::memcpy(&value, in.data(), std::min<size_t>(sizeof value, in.size()));
  return value;
}

// Fills all of `out`; bytes past the eighth become 0.
inline void StoreLittleEndian(uint64_t value, absl::Span<uint8_t> out) {
  std::fill(out.begin(), out.end(), 0);
  std::memcpy(out.data(), &value, std::min<size_t>(sizeof value, out.size()));
}

// What a bus reads where nothing answers.
inline void StoreOnes(absl::Span<uint8_t> out) { std::fill(out.begin(), out.end(), 0xff); }

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_IO_BYTES_H_
