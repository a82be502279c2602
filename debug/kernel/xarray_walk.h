// Walks the kernel's xarray (an IDR's, a page cache's): a tree of nodes with 16 or 64 slots each.
//
//   XarrayWalk xarray(*types);                                    // once
//   XarrayWalk::Outcome outcome = xarray.ForEach(reader, head, limit, [&](uint64_t pointer) { … });
//
// Hostile memory: the depth falls with every node whatever they say, and the number of nodes and of
// entries is limited. Threads: immutable; ForEach allocates nothing.
// Units: `head` is the value of xa_head. Source: Linux include/linux/xarray.h, lib/xarray.c.
#ifndef WATCHSNAP_DEBUG_KERNEL_XARRAY_WALK_H_
#define WATCHSNAP_DEBUG_KERNEL_XARRAY_WALK_H_

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "debug/kernel/struct_field.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

class XarrayWalk {
 public:
  struct Outcome {
    size_t entries = 0;
    bool limited = false;     // there are more entries than the limit
    size_t damaged_nodes = 0; // that could not be read or cannot be nodes there
  };

  explicit XarrayWalk(const TypeGraph& types);

  bool known() const { return shift_.found() && slots_.found() && slot_count_ != 0; }
  // In the order of the indexes. Values that are no pointers are passed over.
  Outcome ForEach(MemoryReader& reader, uint64_t head, size_t limit,
                  absl::FunctionRef<void(uint64_t pointer)> take) const;

 private:
  static constexpr size_t kMaxSlots = 64;
  static constexpr size_t kMaxNodes = 4096;
  struct Walk;
  void VisitNode(Walk& walk, uint64_t node, uint32_t below_shift) const;
  void VisitEntry(Walk& walk, uint64_t entry, uint32_t below_shift) const;

  StructField shift_;
  StructField slots_;
  size_t slot_count_ = 0;
  uint32_t chunk_shift_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_XARRAY_WALK_H_
