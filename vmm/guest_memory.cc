#include "vmm/guest_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

constexpr uint64_t kGranule = 2ull << 20;
constexpr uint64_t kHighBase = 4ull << 30;

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
  memory->memfd_ = memfd_create("watchsnap-guest", MFD_CLOEXEC);
  if (memory->memfd_ < 0) return absl::ErrnoToStatus(errno, "memfd_create for guest memory");
  if (ftruncate(memory->memfd_, static_cast<off_t>(memory->size_)) != 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("guest memory: cannot size a memfd to ", memory->size_));
  }
  void* mapping = mmap(nullptr, memory->size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                       memory->memfd_, 0);
  if (mapping == MAP_FAILED) {
    return absl::ErrnoToStatus(errno, absl::StrCat("guest memory: cannot map ", memory->size_,
                                                   " bytes; try a smaller memory size"));
  }
  memory->mapping_ = static_cast<uint8_t*>(mapping);
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
