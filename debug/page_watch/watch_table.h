// WatchTable: which watches lie in which guest-physical pages, and what a store does to them.
//
// A store of the guest is noted piece by piece before it happens (NoteStore), and once it has happened
// the notes become hits (MakeHits): one for each watch that the instruction wrote to, whatever the
// number of pieces. Notes are kept for each vCPU apart.
//
// Threads: none of its own; the caller serialises. Add and Remove allocate; the rest does not.
// Ownership: borrows the host memory that pieces point to. Units: bytes; GPA and KVA.
// Errors: none; callers have checked what they add.
#ifndef WATCHSNAP_DEBUG_PAGE_WATCH_WATCH_TABLE_H_
#define WATCHSNAP_DEBUG_PAGE_WATCH_WATCH_TABLE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "debug/debug_device.h"

namespace watchsnap {

class WatchTable {
 public:
  static constexpr uint64_t kPageSize = 4096;

  // The part of a watch that lies in one page.
  struct Piece {
    uint64_t gpa = 0;
    uint32_t length = 0;
    uint32_t offset = 0;  // in the watch
    uint8_t* host = nullptr;
  };
  struct Watch {
    WatchId id = kNoWatch;
    WatchSpec spec;
    std::vector<Piece> pieces;  // in the watch's order
  };

  explicit WatchTable(int vcpus) : notes_(vcpus) {}

  void Add(Watch watch);
  // False if there is no such watch.
  bool Remove(WatchId id);
  const Watch* Find(WatchId id) const;
  // A watch of the same kind (reserved or not) that shares a byte with `spec`; nullptr if none does.
  const Watch* Overlapping(const WatchSpec& spec) const;
  absl::Span<const Watch> watches() const { return watches_; }
  // Sorted, each once. `without` and `with` are left out and added.
  std::vector<uint64_t> Pages(WatchId without = kNoWatch,
                              absl::Span<const Piece> with = {}) const;
  bool Holds(uint64_t page) const;

  // Notes that `vcpu` is about to write [gpa, gpa + length), within one page, and remembers the values
  // that watches have there. True if it hits any.
  bool NoteStore(int vcpu, uint64_t gpa, uint32_t length);
  // Notes a store of which nothing is known: a watch of up to 8 bytes is hit if its value changes, and a
  // longer one in any case, with unknown values.
  void NoteUnknownStore(int vcpu);
  bool has_notes(int vcpu) const { return !notes_[vcpu].notes.empty(); }
  // The instruction did not do its store after all.
  void Forget(int vcpu) { notes_[vcpu].notes.clear(); }
  // The instruction did its store. `only_changed`: it is not known whether it did. Hits are then taken
  // by TakeHits.
  void MakeHits(int vcpu, uint64_t writer_pc, uint64_t next_pc, bool only_changed);
  // Up to as many as `hits` holds, in the order of the stores.
  void TakeHits(int vcpu, WatchHits& hits);

 private:
  static constexpr uint32_t kMaxValue = 8;
  struct PieceRef {
    uint64_t gpa;
    uint32_t watch;  // index in watches_
    uint32_t piece;
  };
  struct Note {
    WatchId watch = kNoWatch;
    uint32_t first = 0;  // bytes of the watch that are written: from first on, `count`
    uint32_t count = 0;
    uint32_t value_offset = 0;  // bytes of the watch that old and new value show
    uint32_t value_bytes = 0;   // 0: not known
    uint64_t old_value = 0;
    bool unknown_extent = false;
  };
  struct Notes {
    std::vector<Note> notes;
    std::vector<WatchHit> hits;
    size_t taken = 0;
  };

  void Reindex();
  static uint64_t Value(const Watch& watch, uint32_t offset, uint32_t bytes);

  std::vector<Watch> watches_;
  std::vector<PieceRef> index_;  // by gpa
  std::vector<Notes> notes_;     // by vCPU; with room for one note a watch
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_PAGE_WATCH_WATCH_TABLE_H_
