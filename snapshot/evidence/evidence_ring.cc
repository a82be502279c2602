#include "snapshot/evidence/evidence_ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

constexpr size_t kPageSize = 4096;
constexpr size_t kAlignment = 16;

size_t RoundUp(size_t value, size_t to) { return (value + to - 1) / to * to; }

}  // namespace

absl::StatusOr<std::unique_ptr<EvidenceRing>> EvidenceRing::Create(size_t capacity) {
  capacity = RoundUp(capacity, kPageSize);
  CHECK_GT(capacity, 0u) << "an evidence ring of no bytes";
  const auto refused = [capacity](const char* what) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("no room for ", capacity, " bytes of evidence (", what,
                            "); give captures a smaller ring or the host more memory"));
  };
  const int fd = memfd_create("watchsnap-evidence", MFD_CLOEXEC);
  if (fd < 0) return refused("memfd_create");
  if (ftruncate(fd, static_cast<off_t>(capacity)) != 0) {
    close(fd);
    return refused("ftruncate");
  }
  void* base = mmap(nullptr, 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    close(fd);
    return refused("mmap");
  }
  auto* bytes = static_cast<uint8_t*>(base);
  for (int half = 0; half < 2; ++half) {
    if (mmap(bytes + half * capacity, capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
             0) == MAP_FAILED) {
      absl::Status status = refused("mmap");
      munmap(base, 2 * capacity);
      close(fd);
      return status;
    }
  }
  close(fd);
  return std::unique_ptr<EvidenceRing>(new EvidenceRing(bytes, capacity));
}

EvidenceRing::~EvidenceRing() { munmap(base_, 2 * capacity_); }

size_t EvidenceRing::Room() const {
  const uint64_t used =
      head_.load(std::memory_order_acquire) - tail_.load(std::memory_order_acquire);
  const size_t left = used >= capacity_ ? 0 : capacity_ - used;
  return left <= sizeof(Header) ? 0 : left - sizeof(Header);
}

absl::Span<uint8_t> EvidenceRing::Begin() {
  uint64_t head = head_.load(std::memory_order_relaxed);
  if (head == tail_.load(std::memory_order_acquire) && head % capacity_ != 0) {
    // Empty: nobody frees anything, so both are the leader's.
    head = RoundUp(head, capacity_);
    tail_.store(head, std::memory_order_relaxed);
    head_.store(head, std::memory_order_release);
  }
  return {base_ + head % capacity_ + sizeof(Header), Room()};
}

EvidenceBlock EvidenceRing::Commit(size_t used) {
  if (used == 0) return {};
  CHECK_LE(used, Room()) << "more evidence than the ring had room for";
  const uint64_t head = head_.load(std::memory_order_relaxed);
  const uint64_t total = RoundUp(used + sizeof(Header), kAlignment);
  HeaderAt(head) = {.total = total, .freed = 0};
  head_.store(head + total, std::memory_order_release);
  return {.position = head, .size = used};
}

absl::Span<const uint8_t> EvidenceRing::Bytes(const EvidenceBlock& block) const {
  if (block.size == 0) return {};
  return {base_ + block.position % capacity_ + sizeof(Header), block.size};
}

void EvidenceRing::Free(const EvidenceBlock& block) {
  if (block.size == 0) return;
  Header& header = HeaderAt(block.position);
  CHECK_EQ(header.freed, 0u) << "a block of evidence was freed twice";
  header.freed = 1;
  // Blocks are mostly freed in the order they were committed; one that is early waits for those before.
  uint64_t tail = tail_.load(std::memory_order_relaxed);
  const uint64_t head = head_.load(std::memory_order_acquire);
  while (tail != head && HeaderAt(tail).freed != 0) tail += HeaderAt(tail).total;
  tail_.store(tail, std::memory_order_release);
}

}  // namespace watchsnap
