// Which compilation unit an address belongs to, from .debug_aranges alone.
//
// Threads: immutable once read.
// Source: DWARF 5, section 6.1.2 (lookup by address).
#ifndef WATCHSNAP_DEBUG_LINES_UNIT_INDEX_H_
#define WATCHSNAP_DEBUG_LINES_UNIT_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "debug/lines/dwarf_sections.h"

namespace watchsnap {

class UnitIndex {
 public:
  UnitIndex() = default;
  static absl::StatusOr<UnitIndex> Read(const DwarfSections& sections);

  // The offset in .debug_info of the header of the unit that has code at `address`.
  std::optional<uint64_t> UnitOf(uint64_t address) const;
  // The unit known to begin at or before `offset` of .debug_info, nearest to it.
  std::optional<uint64_t> UnitBefore(uint64_t offset) const;

  size_t range_count() const { return ranges_.size(); }
  size_t unit_count() const { return units_.size(); }

 private:
  struct Range {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t highest_end = 0;  // of this and all before it: where a search may stop
    uint64_t unit = 0;
  };

  std::vector<Range> ranges_;   // by begin
  std::vector<uint64_t> units_;  // offsets in .debug_info, ascending
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_UNIT_INDEX_H_
