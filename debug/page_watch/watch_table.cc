#include "debug/page_watch/watch_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace watchsnap {
namespace {

constexpr uint64_t PageOf(uint64_t gpa) { return gpa & ~(WatchTable::kPageSize - 1); }

// One access where the guest's own would be one.
uint64_t Load(const uint8_t* host, uint32_t bytes) {
  if (reinterpret_cast<uintptr_t>(host) % bytes == 0) {
    switch (bytes) {
      case 1: return __atomic_load_n(host, __ATOMIC_ACQUIRE);
      case 2: return __atomic_load_n(reinterpret_cast<const uint16_t*>(host), __ATOMIC_ACQUIRE);
      case 4: return __atomic_load_n(reinterpret_cast<const uint32_t*>(host), __ATOMIC_ACQUIRE);
      case 8: return __atomic_load_n(reinterpret_cast<const uint64_t*>(host), __ATOMIC_ACQUIRE);
      default: break;
    }
  }
  uint64_t value = 0;
  std::memcpy(&value, host, bytes);
  return value;
}

}  // namespace

void WatchTable::Add(Watch watch) {
  watches_.push_back(std::move(watch));
  Reindex();
}

bool WatchTable::Remove(WatchId id) {
  const auto gone = std::find_if(watches_.begin(), watches_.end(),
                                 [id](const Watch& watch) { return watch.id == id; });
  if (gone == watches_.end()) return false;
  watches_.erase(gone);
  Reindex();
  return true;
}

void WatchTable::Reindex() {
  index_.clear();
  for (uint32_t i = 0; i < watches_.size(); ++i) {
    for (uint32_t j = 0; j < watches_[i].pieces.size(); ++j) {
      index_.push_back({watches_[i].pieces[j].gpa, i, j});
    }
  }
  std::sort(index_.begin(), index_.end(),
            [](const PieceRef& a, const PieceRef& b) { return a.gpa < b.gpa; });
  for (Notes& notes : notes_) {
    notes.notes.reserve(watches_.size());
    notes.hits.reserve(watches_.size());
  }
}

const WatchTable::Watch* WatchTable::Find(WatchId id) const {
  for (const Watch& watch : watches_) {
    if (watch.id == id) return &watch;
  }
  return nullptr;
}

const WatchTable::Watch* WatchTable::Overlapping(const WatchSpec& spec) const {
  for (const Watch& watch : watches_) {
    const WatchSpec& other = watch.spec;
    if (other.reserved_slot == spec.reserved_slot &&
        spec.address <= other.address + (other.length - 1) &&
        other.address <= spec.address + (spec.length - 1)) {
      return &watch;
    }
  }
  return nullptr;
}

std::vector<uint64_t> WatchTable::Pages(WatchId without, absl::Span<const Piece> with) const {
  std::vector<uint64_t> pages;
  for (const Piece& piece : with) pages.push_back(PageOf(piece.gpa));
  for (const Watch& watch : watches_) {
    if (watch.id == without) continue;
    for (const Piece& piece : watch.pieces) pages.push_back(PageOf(piece.gpa));
  }
  std::sort(pages.begin(), pages.end());
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  return pages;
}

bool WatchTable::Holds(uint64_t page) const {
  const auto at = std::lower_bound(index_.begin(), index_.end(), page,
                                   [](const PieceRef& ref, uint64_t gpa) { return ref.gpa < gpa; });
  return at != index_.end() && PageOf(at->gpa) == page;
}

uint64_t WatchTable::Value(const Watch& watch, uint32_t offset, uint32_t bytes) {
  uint64_t value = 0;
  for (const Piece& piece : watch.pieces) {
    const uint32_t begin = std::max(offset, piece.offset);
    const uint32_t end = std::min(offset + bytes, piece.offset + piece.length);
    if (begin >= end) continue;
    const uint64_t part = Load(piece.host + (begin - piece.offset), end - begin);
    value |= part << (8 * (begin - offset));
  }
  return value;
}

bool WatchTable::NoteStore(int vcpu, uint64_t gpa, uint32_t length) {
  std::vector<Note>& notes = notes_[vcpu].notes;
  bool any = false;
  // Pieces lie within their pages: none that begins in an earlier page reaches here.
  auto ref = std::lower_bound(index_.begin(), index_.end(), PageOf(gpa),
                              [](const PieceRef& a, uint64_t b) { return a.gpa < b; });
  for (; ref != index_.end() && ref->gpa < gpa + length; ++ref) {
    const Watch& watch = watches_[ref->watch];
    const Piece& piece = watch.pieces[ref->piece];
    const uint64_t begin = std::max(gpa, piece.gpa);
    const uint64_t end = std::min(gpa + length, piece.gpa + piece.length);
    if (begin >= end) continue;
    any = true;
    const uint32_t first = piece.offset + static_cast<uint32_t>(begin - piece.gpa);
    const uint32_t count = static_cast<uint32_t>(end - begin);
    const auto known = std::find_if(notes.begin(), notes.end(),
                                    [&watch](const Note& note) { return note.watch == watch.id; });
    if (known != notes.end()) {  // another piece of the same store
      const uint32_t last = std::max(known->first + known->count, first + count);
      known->first = std::min(known->first, first);
      known->count = last - known->first;
      if (watch.spec.length > kMaxValue && known->value_bytes < kMaxValue &&
          first == known->value_offset + known->value_bytes) {
        const uint32_t more = std::min(count, kMaxValue - known->value_bytes);
        known->old_value |= Value(watch, first, more) << (8 * known->value_bytes);
        known->value_bytes += more;
      }
      continue;
    }
    Note note = {.watch = watch.id, .first = first, .count = count};
    const bool whole = watch.spec.length <= kMaxValue;
    note.value_offset = whole ? 0 : first;
    note.value_bytes = whole ? watch.spec.length : std::min(count, kMaxValue);
    note.old_value = Value(watch, note.value_offset, note.value_bytes);
    notes.push_back(note);
  }
  return any;
}

void WatchTable::NoteUnknownStore(int vcpu) {
  std::vector<Note>& notes = notes_[vcpu].notes;
  notes.clear();
  for (const Watch& watch : watches_) {
    Note note = {.watch = watch.id, .unknown_extent = true};
    if (watch.spec.length <= kMaxValue) {
      note.value_bytes = watch.spec.length;
      note.old_value = Value(watch, 0, note.value_bytes);
    }
    notes.push_back(note);
  }
}

void WatchTable::MakeHits(int vcpu, uint64_t writer_pc, uint64_t next_pc, bool only_changed) {
  Notes& mine = notes_[vcpu];
  if (mine.taken == mine.hits.size()) {
    mine.hits.clear();
    mine.taken = 0;
  }
  for (const Note& note : mine.notes) {
    const Watch* watch = Find(note.watch);
    if (watch == nullptr) continue;
    const bool values_known = note.value_bytes != 0;
    const uint64_t value = values_known ? Value(*watch, note.value_offset, note.value_bytes) : 0;
    if ((only_changed || note.unknown_extent) && values_known && value == note.old_value) continue;
    mine.hits.push_back({.watch = watch->id,
                         .slot = -1,
                         .reserved_slot = watch->spec.reserved_slot,
                         .vcpu = vcpu,
                         .address = watch->spec.address,
                         .length = watch->spec.length,
                         .next_pc = next_pc,
                         .writer_pc = writer_pc,
                         .values_known = values_known,
                         .old_value = note.old_value,
                         .new_value = value,
                         .stored_address = note.count == 0 ? 0 : watch->spec.address + note.first,
                         .stored_bytes = note.count});
  }
  mine.notes.clear();
}

void WatchTable::TakeHits(int vcpu, WatchHits& hits) {
  Notes& mine = notes_[vcpu];
  hits.count = 0;
  while (mine.taken < mine.hits.size() && hits.count < static_cast<int>(hits.hits.size())) {
    hits.hits[hits.count++] = mine.hits[mine.taken++];
  }
}

}  // namespace watchsnap
