// StackSource: what the frozen path needs in order to copy stacks: where they end, and the bytes.
//
// Threads: any; nothing is allocated or locked. Made before it is handed to the coordinator, immutable.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_STACK_SOURCE_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_STACK_SOURCE_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "debug/stacks/stack_extents.h"

namespace watchsnap {

class StackSource {
 public:
  virtual ~StackSource() = default;
  virtual const StackExtents& stack_extents() const = 0;
  // Copies from `kva` on until something is not mapped; returns how many bytes.
  virtual size_t CopyPrefix(uint64_t kva, absl::Span<uint8_t> out) const = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_STACK_SOURCE_H_
