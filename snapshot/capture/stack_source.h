// StackSource: what the frozen path needs in order to copy stacks: where they end, and the bytes.
//
// Threads: any; nothing is allocated or locked. Made before it is handed to the coordinator, immutable.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_STACK_SOURCE_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_STACK_SOURCE_H_

#include "debug/stacks/stack_extents.h"
#include "snapshot/evidence/frozen_memory.h"

namespace watchsnap {

class StackSource : public FrozenMemory {
 public:
  virtual const StackExtents& stack_extents() const = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_STACK_SOURCE_H_
