// FrozenMemory: guest-virtual memory as the frozen path reads it, by the kernel's own page tables.
//
// Threads: any; nothing is allocated or locked. The guest may run, but only a frozen one stands still.
// Errors: none; a copy ends where something is not mapped to RAM.
#ifndef WATCHSNAP_SNAPSHOT_EVIDENCE_FROZEN_MEMORY_H_
#define WATCHSNAP_SNAPSHOT_EVIDENCE_FROZEN_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "vmm/virtual_piece.h"

namespace watchsnap {

class FrozenMemory {
 public:
  virtual ~FrozenMemory() = default;
  // A freeze begins: nothing that was remembered of the guest's tables holds any more.
  virtual void BeginFreeze() const {}
  // Copies from `kva` on until something is not mapped; returns how many bytes.
  virtual size_t CopyPrefix(uint64_t kva, absl::Span<uint8_t> out) const = 0;
  // The piece that `kva` lies in, if a copy has just found it. Whoever reads much from one place then needs no walk and no call
  // for it. Good until the freeze ends.
  virtual VirtualPiece PieceAt(uint64_t /*kva*/) const { return {}; }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_EVIDENCE_FROZEN_MEMORY_H_
