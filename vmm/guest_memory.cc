#include "vmm/guest_memory.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

constexpr uint64_t kGranule = 2ull << 20;  // of a huge page, too
constexpr uint64_t kHighBase = 4ull << 30;
constexpr uint64_t kPage = 4096;
constexpr char kName[] = "watchsnap-guest";  // in /proc/PID/smaps

// `size` bytes at a multiple of kGranule, or null.
uint8_t* MapAnonymous(uint64_t size) {
  void* reserved = mmap(nullptr, size + kGranule, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  uint8_t* const begin = static_cast<uint8_t*>(reserved);
  const uint64_t skip = kGranule - reinterpret_cast<uintptr_t>(begin) % kGranule;
  uint8_t* const aligned = begin + skip;
  munmap(begin, skip);
  if (skip < kGranule) munmap(aligned + size, kGranule - skip);
  if (mprotect(aligned, size, PROT_READ | PROT_WRITE) != 0) {
    munmap(aligned, size);
    return nullptr;
  }
  // Both are wishes: a kernel may know neither.
  madvise(aligned, size, MADV_HUGEPAGE);
  prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, aligned, size, kName);
  return aligned;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GuestMemory>> GuestMemory::Create(uint64_t size,
                                                                 uint64_t low_limit) {
  if (size == 0 || size > (1ull << 46)) {
    return absl::InvalidArgumentError(
        absl::StrCat("guest memory of ", size, " bytes: wanted 1 byte to 64 TiB"));
  }
  if (low_limit == 0 || low_limit > kHighBase || low_limit % kGranule != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("guest memory: the device hole cannot begin at %#x", low_limit));
  }
  auto memory = std::unique_ptr<GuestMemory>(new GuestMemory);
  memory->size_ = (size + kGranule - 1) / kGranule * kGranule;
  memory->mapping_ = MapAnonymous(memory->size_);
  if (memory->mapping_ == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("guest memory: cannot map ", memory->size_,
                                                   " bytes; try a smaller memory size"));
  }
  const uint64_t low = std::min(memory->size_, low_limit);
  memory->regions_.push_back({0, low, memory->mapping_, 0});
  if (memory->size_ > low) {
    memory->regions_.push_back({kHighBase, memory->size_ - low, memory->mapping_ + low, low});
  }
  return memory;
}

GuestMemory::~GuestMemory() {
  if (mapping_ != nullptr) munmap(mapping_, size_);
  if (memfd_ >= 0) close(memfd_);
}

absl::Status GuestMemory::MoveToMemfd() {
  if (memfd_ >= 0) return absl::OkStatus();
  const int fd = memfd_create(kName, MFD_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "memfd_create for guest memory");
  const auto fail = [&](std::string_view what, void* mapped) {
    const int error = errno;
    if (mapped != MAP_FAILED) munmap(mapped, size_);
    close(fd);
    return absl::ErrnoToStatus(error, absl::StrCat("guest memory: ", what, " of ", size_, " bytes"));
  };
  if (ftruncate(fd, static_cast<off_t>(size_)) != 0) return fail("sizing a memfd", MAP_FAILED);
  void* const copy =
      mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (copy == MAP_FAILED) return fail("mapping a memfd", copy);
  static constexpr uint8_t kZeros[kPage] = {};
  for (uint64_t at = 0; at < size_; at += kPage) {
    // What the guest never touched takes no memory in the memfd either.
    if (std::memcmp(mapping_ + at, kZeros, kPage) == 0) continue;
    std::memcpy(static_cast<uint8_t*>(copy) + at, mapping_ + at, kPage);
  }
  // In one step: no access meets a hole. KVM notices (its MMU notifier) and takes the new pages.
  if (mmap(mapping_, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) ==
      MAP_FAILED) {
    return fail("replacing anonymous memory by a memfd", copy);
  }
  munmap(copy, size_);
  memfd_ = fd;
  return absl::OkStatus();
}

absl::Status GuestMemory::OutOfRange(uint64_t gpa, uint64_t length) const {
  std::string ram;
  for (const MemoryRegion& region : regions_) {
    absl::StrAppendFormat(&ram, "%s[%#x, %#x)", ram.empty() ? "" : " ", region.gpa,
                          region.gpa + region.size);
  }
  return absl::OutOfRangeError(absl::StrFormat(
      "guest-physical access of %d bytes at %#x is not inside RAM, which is %s", length, gpa, ram));
}

absl::StatusOr<absl::Span<uint8_t>> GuestMemory::Slice(uint64_t gpa, uint64_t length) const {
  uint8_t* host = HostAddress(gpa, length);
  if (host == nullptr) return OutOfRange(gpa, length);
  return absl::MakeSpan(host, length);
}

absl::Status GuestMemory::Read(uint64_t gpa, absl::Span<uint8_t> out) const {
  const uint8_t* host = HostAddress(gpa, out.size());
  if (host == nullptr) return OutOfRange(gpa, out.size());
  std::memcpy(out.data(), host, out.size());
  return absl::OkStatus();
}

absl::Status GuestMemory::Write(uint64_t gpa, absl::Span<const uint8_t> in) const {
  uint8_t* host = HostAddress(gpa, in.size());
  if (host == nullptr) return OutOfRange(gpa, in.size());
  std::memcpy(host, in.data(), in.size());
  return absl::OkStatus();
}

}  // namespace watchsnap
