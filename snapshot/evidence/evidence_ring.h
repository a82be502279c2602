// EvidenceRing: the memory that the bytes of captures lie in until they are rendered. One ring for a
// machine, mapped twice in a row, so that every block is contiguous however it wraps.
//
//   absl::Span<uint8_t> room = ring.Begin();      // leader, frozen: where the next block goes
//   EvidenceBlock block = ring.Commit(used);      // leader, frozen
//   ring.Bytes(block)                             // renderer
//   ring.Free(block);                             // renderer; in any order
//
// Threads: Begin and Commit by whoever leads a freeze, so one at a time (the pause barrier orders
// them); Free by one other thread; Room by any, as a hint. Nothing allocates or locks after Create.
// Ownership: owns the mapping. What was never filled takes no memory, and an empty ring begins at its
// start again: small captures that are rendered in time keep to the first pages.
// Errors: Create says what the host refused.
#ifndef WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_RING_H_
#define WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap {

// Nothing was committed where `size` is 0.
struct EvidenceBlock {
  uint64_t position = 0;
  size_t size = 0;
};

class EvidenceRing {
 public:
  // `capacity` is rounded up to a page.
  static absl::StatusOr<std::unique_ptr<EvidenceRing>> Create(size_t capacity);
  ~EvidenceRing();
  EvidenceRing(const EvidenceRing&) = delete;
  EvidenceRing& operator=(const EvidenceRing&) = delete;

  size_t capacity() const { return capacity_; }
  // How many bytes a block that is begun now may have.
  size_t Room() const;

  absl::Span<uint8_t> Begin();
  EvidenceBlock Commit(size_t used);

  absl::Span<const uint8_t> Bytes(const EvidenceBlock& block) const;
  void Free(const EvidenceBlock& block);

 private:
  // Stands before each block.
  struct Header {
    uint64_t total = 0;  // with the header
    uint64_t freed = 0;
  };
  EvidenceRing(uint8_t* base, size_t capacity) : base_(base), capacity_(capacity) {}
  Header& HeaderAt(uint64_t position) const {
    return *reinterpret_cast<Header*>(base_ + position % capacity_);
  }

  uint8_t* const base_;
  const size_t capacity_;
  // Positions only grow; modulo the capacity they are places. head: where the next block begins, the
  // leader's; tail: the oldest block that is not free, the renderer's while there is one.
  std::atomic<uint64_t> head_{0};
  std::atomic<uint64_t> tail_{0};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_RING_H_
