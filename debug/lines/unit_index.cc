#include "debug/lines/unit_index.h"

#include <algorithm>
#include <memory>

#include "debug/lines/dwarf_handle.h"

namespace watchsnap {

absl::StatusOr<UnitIndex> UnitIndex::Read(const DwarfSections& sections) {
  absl::StatusOr<std::unique_ptr<DwarfHandle>> handle = DwarfHandle::OfIndex(sections);
  if (!handle.ok()) return handle.status();
  DwarfHandle& dwarf = **handle;
  Dwarf_Arange* aranges = nullptr;
  Dwarf_Signed count = 0;
  const absl::StatusOr<bool> read = dwarf.Check(
      dwarf_get_aranges(dwarf.get(), &aranges, &count, dwarf.error()), ".debug_aranges");
  if (!read.ok()) return read.status();
  UnitIndex index;
  for (Dwarf_Signed i = 0; *read && i < count; ++i) {
    Dwarf_Addr begin = 0;
    Dwarf_Unsigned length = 0;
    Dwarf_Off unit = 0;
    // The unit's header is asked for by its own function: with a last argument here, libdwarf
    // would look at each unit.
    if (!dwarf.Ok(dwarf_get_arange_info_b(aranges[i], nullptr, nullptr, &begin, &length, nullptr,
                                          dwarf.error())) ||
        !dwarf.Ok(dwarf_get_arange_cu_header_offset(aranges[i], &unit, dwarf.error()))) {
      continue;
    }
    index.units_.push_back(unit);
    // Address 0 is what is left of code that the linker threw away.
    if (begin == 0 || length == 0 || begin + length < begin) continue;
    index.ranges_.push_back({.begin = begin, .end = begin + length, .unit = unit});
  }
  std::sort(index.units_.begin(), index.units_.end());
  index.units_.erase(std::unique(index.units_.begin(), index.units_.end()), index.units_.end());
  std::sort(index.ranges_.begin(), index.ranges_.end(), [](const Range& a, const Range& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  uint64_t highest = 0;
  for (Range& range : index.ranges_) {
    highest = std::max(highest, range.end);
    range.highest_end = highest;
  }
  return index;
}

std::optional<uint64_t> UnitIndex::UnitOf(uint64_t address) const {
  auto range = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                [](uint64_t value, const Range& r) { return value < r.begin; });
  while (range != ranges_.begin()) {
    --range;
    if (address < range->end) return range->unit;
    if (address >= range->highest_end) break;
  }
  return std::nullopt;
}

std::optional<uint64_t> UnitIndex::UnitBefore(uint64_t offset) const {
  const auto after = std::upper_bound(units_.begin(), units_.end(), offset);
  if (after == units_.begin()) return std::nullopt;
  return *std::prev(after);
}

}  // namespace watchsnap
