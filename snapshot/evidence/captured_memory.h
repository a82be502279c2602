// CapturedMemory: the evidence of one capture as memory: what was copied can be read, nothing else.
//
// Threads: one. Ownership: borrows the bytes, which must outlive it. Errors: a read of bytes that were
// not copied is refused, and whoever renders says so in the report.
#ifndef WATCHSNAP_SNAPSHOT_EVIDENCE_CAPTURED_MEMORY_H_
#define WATCHSNAP_SNAPSHOT_EVIDENCE_CAPTURED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "debug/memory_reader.h"

namespace watchsnap {

class CapturedMemory : public MemoryReader {
 public:
  CapturedMemory() = default;
  // `block`: what an EvidenceRecorder wrote.
  explicit CapturedMemory(absl::Span<const uint8_t> block);

  bool Read(uint64_t kva, absl::Span<uint8_t> out) override;
  // How many bytes from `kva` on were copied, `length` at most.
  uint64_t Take(uint64_t kva, uint64_t length) override;

 private:
  struct Region {
    uint64_t kva = 0;
    uint64_t length = 0;
    const uint8_t* bytes = nullptr;
    size_t longest = 0;  // of this and all regions before it, the one that reaches furthest
  };
  // The copied bytes from `kva` on, as far as one region has them.
  absl::Span<const uint8_t> Find(uint64_t kva) const;

  std::vector<Region> regions_;  // by address; they may overlap (and then agree)
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_EVIDENCE_CAPTURED_MEMORY_H_
