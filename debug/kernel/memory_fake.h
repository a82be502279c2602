// Memory put together by hand, as a MemoryReader: regions at addresses, and nothing between them. For
// tests of walks; it counts what was asked of it.
//
//   MemoryFake memory;
//   memory.Put(0xffff888000001000, uint64_t{42});
#ifndef WATCHSNAP_DEBUG_KERNEL_MEMORY_FAKE_H_
#define WATCHSNAP_DEBUG_KERNEL_MEMORY_FAKE_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string_view>
#include <type_traits>
#include <vector>

#include "debug/memory_reader.h"

namespace watchsnap {

class MemoryFake : public MemoryReader {
 public:
  // A zeroed region. Regions do not touch or overlap.
  void Map(uint64_t kva, size_t length) { regions_[kva].resize(length); }
  // Into a region, or as a new one.
  void PutBytes(uint64_t kva, const void* bytes, size_t length) {
    uint8_t* to = Find(kva, length);
    if (to == nullptr) {
      Map(kva, length);
      to = regions_[kva].data();
    }
    std::memcpy(to, bytes, length);
  }
  template <typename T>
  void Put(uint64_t kva, T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    PutBytes(kva, &value, sizeof value);
  }
  void PutString(uint64_t kva, std::string_view text) { PutBytes(kva, text.data(), text.size()); }
  void Unmap(uint64_t kva) { regions_.erase(kva); }

  // All bytes there are, as one row, for tests that damage them.
  size_t size() const {
    size_t total = 0;
    for (const auto& [kva, bytes] : regions_) total += bytes.size();
    return total;
  }
  uint8_t& Byte(size_t index) {
    auto region = regions_.begin();
    while (index >= region->second.size()) index -= (region++)->second.size();
    return region->second[index];
  }

  bool Read(uint64_t kva, absl::Span<uint8_t> out) override {
    ++reads;
    const uint8_t* from = Find(kva, out.size());
    if (from == nullptr) return false;
    std::memcpy(out.data(), from, out.size());
    bytes += out.size();
    return true;
  }
  uint64_t Take(uint64_t kva, uint64_t length) override {
    ++takes;
    auto region = regions_.upper_bound(kva);
    if (region == regions_.begin()) return 0;
    --region;
    const uint64_t at = kva - region->first;
    if (at >= region->second.size()) return 0;
    const uint64_t there = std::min<uint64_t>(length, region->second.size() - at);
    bytes += there;
    return there;
  }

  uint64_t reads = 0;
  uint64_t takes = 0;
  uint64_t bytes = 0;

 private:
  uint8_t* Find(uint64_t kva, size_t length) {
    auto region = regions_.upper_bound(kva);
    if (region == regions_.begin()) return nullptr;
    --region;
    const uint64_t at = kva - region->first;
    if (at > region->second.size() || length > region->second.size() - at) return nullptr;
    return region->second.data() + at;
  }

  std::map<uint64_t, std::vector<uint8_t>> regions_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_MEMORY_FAKE_H_
