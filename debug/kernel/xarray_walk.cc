#include "debug/kernel/xarray_walk.h"

#include <array>
#include <bit>

namespace watchsnap {
namespace {

// include/linux/xarray.h: the two low bits say what an entry is.
constexpr uint64_t kEntryKind = 3;
constexpr uint64_t kInternal = 2;
// Internal entries below this are marks, siblings and the like, not nodes (xa_is_node).
constexpr uint64_t kFirstNode = 4096;
// More than any index of 64 bits needs.
constexpr uint32_t kAboveAll = 64;

}  // namespace

struct XarrayWalk::Walk {
  MemoryReader& reader;
  const size_t limit;
  const absl::FunctionRef<void(uint64_t)> take;
  Outcome outcome = {};
  size_t nodes = 0;
};

XarrayWalk::XarrayWalk(const TypeGraph& types) {
  StructFields node(types, "struct xa_node");
  shift_ = node.Find("shift");
  slots_ = node.Find("slots");
  slot_count_ = slots_.found() ? slots_.size / sizeof(uint64_t) : 0;
  if (slot_count_ > kMaxSlots || !std::has_single_bit(slot_count_)) slot_count_ = 0;
  if (slot_count_ != 0) chunk_shift_ = static_cast<uint32_t>(std::countr_zero(slot_count_));
}

XarrayWalk::Outcome XarrayWalk::ForEach(MemoryReader& reader, uint64_t head, size_t limit,
                                        absl::FunctionRef<void(uint64_t)> take) const {
  Walk walk{.reader = reader, .limit = limit, .take = take};
  if (known()) VisitEntry(walk, head, kAboveAll);
  return walk.outcome;
}

void XarrayWalk::VisitEntry(Walk& walk, uint64_t entry, uint32_t below_shift) const {
  if (entry == 0) return;
  if ((entry & kEntryKind) == kInternal) {
    if (entry >= kFirstNode) VisitNode(walk, entry - kInternal, below_shift);
    return;
  }
  if ((entry & kEntryKind) != 0) return;  // a value
  if (walk.outcome.entries == walk.limit) {
    walk.outcome.limited = true;
    return;
  }
  ++walk.outcome.entries;
  walk.take(entry);
}

void XarrayWalk::VisitNode(Walk& walk, uint64_t node, uint32_t below_shift) const {
  uint64_t shift = 0;
  std::array<uint64_t, kMaxSlots> slots;
  const auto bytes = absl::MakeSpan(reinterpret_cast<uint8_t*>(slots.data()), slot_count_ * 8);
  // A node covers less than the one it hangs from: with that no chain of nodes is endless.
  if (walk.nodes == kMaxNodes || !shift_.Load(walk.reader, node, shift) || shift >= below_shift ||
      shift % chunk_shift_ != 0 || !walk.reader.Read(node + slots_.offset, bytes)) {
    ++walk.outcome.damaged_nodes;
    return;
  }
  ++walk.nodes;
  for (size_t i = 0; i < slot_count_ && !walk.outcome.limited; ++i) {
    // Entries at the lowest level are never nodes.
    if (shift == 0 && (slots[i] & kEntryKind) == kInternal) continue;
    VisitEntry(walk, slots[i], static_cast<uint32_t>(shift));
  }
}

}  // namespace watchsnap
