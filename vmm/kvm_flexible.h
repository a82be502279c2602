// KVM's variable-length arguments (kvm_cpuid2, kvm_msrs, kvm_irq_routing) in C++.
//
// In <linux/kvm.h> these structures end in __DECLARE_FLEX_ARRAY, which puts an empty structure before
// the array. An empty structure has size 0 in C and 1 in C++, so that in C++ sizeof, the array's offset
// and the ioctl number (which encodes the size) all come out wrong, and KVM answers ENOTTY. Here they
// have the layout that the kernel uses: an 8-byte header of two 32-bit words, the entries right behind.
//
//   KvmFlexible<kvm_msr_entry> msrs(entries);
//   ioctl(fd, kKvmSetMsrs, msrs.data());
//
// Source: Documentation/virt/kvm/api.rst, and the numbers of <linux/kvm.h>.
#ifndef WATCHSNAP_VMM_KVM_FLEXIBLE_H_
#define WATCHSNAP_VMM_KVM_FLEXIBLE_H_

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "absl/types/span.h"

namespace watchsnap {

inline constexpr size_t kKvmFlexibleHeader = 8;
inline constexpr unsigned long kKvmGetSupportedCpuid =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, kKvmFlexibleHeader);
inline constexpr unsigned long kKvmSetGsiRouting =
    _IOC(_IOC_WRITE, KVMIO, 0x6a, kKvmFlexibleHeader);
inline constexpr unsigned long kKvmGetMsrs =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, kKvmFlexibleHeader);
inline constexpr unsigned long kKvmSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, kKvmFlexibleHeader);
inline constexpr unsigned long kKvmSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, kKvmFlexibleHeader);

template <typename Entry>
class KvmFlexible {
  static_assert(std::is_trivially_copyable_v<Entry>);

 public:
  explicit KvmFlexible(absl::Span<const Entry> entries)
      : words_((kKvmFlexibleHeader + entries.size() * sizeof(Entry) + 7) / 8) {
    SetCount(static_cast<uint32_t>(entries.size()));
    std::memcpy(bytes() + kKvmFlexibleHeader, entries.data(), entries.size() * sizeof(Entry));
  }

  void* data() { return words_.data(); }
  // The first word of the header: how many entries there are, or how many there is room for.
  uint32_t count() const { return static_cast<uint32_t>(words_[0]); }
  Entry entry(size_t index) const {
    Entry entry;
    std::memcpy(&entry, reinterpret_cast<const char*>(words_.data()) + kKvmFlexibleHeader +
                            index * sizeof(Entry),
                sizeof entry);
    return entry;
  }

 private:
  char* bytes() { return reinterpret_cast<char*>(words_.data()); }
  void SetCount(uint32_t count) { words_[0] = count; }

  std::vector<uint64_t> words_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_KVM_FLEXIBLE_H_
