// EvidenceRecorder: reads the frozen guest and keeps every byte it read, as evidence.
//
//   recorder.Begin(memory);                        // leader, all vCPUs frozen
//   part.Copy(context, recorder); …
//   EvidenceBlock block = recorder.Commit();
//
// A block is a sequence of records: the address, the length, the bytes (captured_memory.h reads them).
// Threads: the leader's, one freeze at a time. Allocates nothing. Ownership: borrows the ring; `memory`
// between Begin and Commit.
// Errors: a read past the room that is left is refused and counted; `refused_bytes` tells.
#ifndef WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_RECORDER_H_
#define WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_RECORDER_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "debug/memory_reader.h"
#include "snapshot/evidence/evidence_ring.h"
#include "snapshot/evidence/frozen_memory.h"

namespace watchsnap {

// Before the bytes of a record, which are padded to 8.
struct EvidenceRecord {
  uint64_t kva = 0;
  uint64_t length = 0;
  uint64_t padded() const { return (length + 7) & ~uint64_t{7}; }
};

class EvidenceRecorder : public MemoryReader {
 public:
  explicit EvidenceRecorder(EvidenceRing* ring) : ring_(ring) {}

  void Begin(const FrozenMemory& memory);
  EvidenceBlock Commit();

  bool Read(uint64_t kva, absl::Span<uint8_t> out) override;
  uint64_t Take(uint64_t kva, uint64_t length) override;

  // Of the block that was last begun: bytes that were asked for and found no room.
  uint64_t refused_bytes() const { return refused_bytes_; }

 private:
  // Copies into the ring; nullptr where there is no room. `copied`: how many are there.
  const uint8_t* Record(uint64_t kva, uint64_t length, uint64_t& copied);

  EvidenceRing* const ring_;
  const FrozenMemory* memory_ = nullptr;
  // Where the last copy came from: what is read next mostly lies in the same large page.
  VirtualPiece near_;
  absl::Span<uint8_t> room_;
  size_t used_ = 0;
  uint64_t refused_bytes_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_RECORDER_H_
