// EvidenceParts: what the captures of one guest take along, in order, and the memory it is read from.
// Made when the kernel has been identified, and handed to the coordinator whole; immutable from then on.
//
// Ownership: owns the parts; `memory` is the guest's view, which outlives it.
#ifndef WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_PARTS_H_
#define WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_PARTS_H_

#include <memory>
#include <vector>

#include "snapshot/evidence/evidence_part.h"
#include "snapshot/evidence/frozen_memory.h"

namespace watchsnap {

struct EvidenceParts {
  const FrozenMemory* memory = nullptr;
  std::vector<std::unique_ptr<EvidencePart>> parts;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_EVIDENCE_EVIDENCE_PARTS_H_
