// GuestMemory: the guest's physical memory.
//
// Purpose: every access the VMM makes to guest memory goes through here, so that no guest-controlled
// address or length can reach outside it.
// Backing: private anonymous memory that asks for transparent huge pages (Linux's
// Documentation/admin-guide/mm/transhuge.rst): the guest's first touch of 2 MiB is one fault instead of 512, and
// nested page walks are shorter. (A memfd gets none with the default of shmem_enabled.) Who needs a
// second mapping of the same bytes moves them to a memfd (MoveToMemfd).
// Layout: RAM lies at [0, low_size) and, past the 32-bit device hole, at [4 GiB, 4 GiB + high_size).
// Threads: the object is immutable after Create, MoveToMemfd apart; the bytes are shared with running vCPUs, so readers
// must expect them to change at any time (copy first, then check, then use).
// Ownership: owns the mapping and the memfd; pointers and spans live as long as the object.
// Units: addresses are guest-physical (GPA), sizes are bytes.
// Errors: OutOfRange names the access and what memory there is. Nothing aborts on guest input.
#ifndef WATCHSNAP_VMM_GUEST_MEMORY_H_
#define WATCHSNAP_VMM_GUEST_MEMORY_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap {

// One contiguous stretch of guest RAM; becomes one KVM memslot.
struct MemoryRegion {
  uint64_t gpa = 0;
  uint64_t size = 0;
  uint8_t* host = nullptr;
  uint64_t file_offset = 0;  // of `host` in the memfd, when there is one
};

class GuestMemory {
 public:
  // `size` is rounded up to whole 2 MiB pages; `low_limit` is where the 32-bit device hole begins.
  static absl::StatusOr<std::unique_ptr<GuestMemory>> Create(uint64_t size, uint64_t low_limit);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  uint64_t size() const { return size_; }
  // -1 before MoveToMemfd.
  int memfd() const { return memfd_; }
  // Moves the bytes into a memfd, mapped shared at the same host addresses. While it lasts nobody may write to
  // the memory: the vCPUs are frozen, the devices' thread is kept (PageProtection does both). Reads all of it, copies what
  // is not zero, and gives up the huge pages. Does nothing the second time. On error nothing has changed.
  absl::Status MoveToMemfd();
  absl::Span<const MemoryRegion> regions() const { return regions_; }

  // The host address of [gpa, gpa + length), or nullptr where any byte of it is not RAM. Does not
  // allocate: usable while the guest is frozen.
  uint8_t* HostAddress(uint64_t gpa, uint64_t length) const {
    for (const MemoryRegion& region : regions_) {
      if (gpa >= region.gpa && gpa - region.gpa < region.size &&
          length <= region.size - (gpa - region.gpa)) {
        return region.host + (gpa - region.gpa);
      }
    }
    return nullptr;
  }

  absl::StatusOr<absl::Span<uint8_t>> Slice(uint64_t gpa, uint64_t length) const;
  absl::Status Read(uint64_t gpa, absl::Span<uint8_t> out) const;
  absl::Status Write(uint64_t gpa, absl::Span<const uint8_t> in) const;

  template <typename T>
  absl::StatusOr<T> ReadObject(uint64_t gpa) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    absl::Status status = Read(gpa, absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof value));
    if (!status.ok()) return status;
    return value;
  }
  template <typename T>
  absl::Status WriteObject(uint64_t gpa, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return Write(gpa, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&value), sizeof value));
  }

 private:
  GuestMemory() = default;
  absl::Status OutOfRange(uint64_t gpa, uint64_t length) const;

  uint64_t size_ = 0;
  int memfd_ = -1;
  uint8_t* mapping_ = nullptr;
  std::vector<MemoryRegion> regions_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_GUEST_MEMORY_H_
