// The name of a function in the debug information: its own, or the one of the function it is a
// copy of (DW_AT_abstract_origin, DW_AT_specification), also in another unit (link-time
// optimization), which is then looked at alone.
//
// Threads: as the DwarfHandle. Ownership: everything given must live longer.
#ifndef WATCHSNAP_DEBUG_LINES_FUNCTION_NAMES_H_
#define WATCHSNAP_DEBUG_LINES_FUNCTION_NAMES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "debug/lines/dwarf_handle.h"
#include "debug/lines/dwarf_sections.h"
#include "debug/lines/unit_index.h"
#include "debug/lines/unit_lines.h"
#include "libdwarf.h"

namespace watchsnap {

class FunctionNames {
 public:
  FunctionNames(const DwarfSections& sections, const UnitIndex& index, const DwarfUnit& unit,
                DwarfHandle& handle);

  // The name of `die` of the unit given; nullopt where none can be found.
  std::optional<UnitLines::Name> Of(Dwarf_Die die);

 private:
  struct Unit {
    DwarfUnit unit;
    DwarfHandle* handle = nullptr;
    std::unique_ptr<DwarfHandle> owned;  // of other units
  };

  std::optional<UnitLines::Name> NameOf(Unit& unit, Dwarf_Die die, int hops);
  // `offset` counts from the start of .debug_info.
  std::optional<UnitLines::Name> NameAt(uint64_t offset, int hops);
  Unit* UnitHolding(uint64_t offset);

  const DwarfSections& sections_;
  const UnitIndex& index_;
  std::vector<Unit> units_;  // [0] is the one given
  std::unordered_map<uint64_t, std::optional<UnitLines::Name>> known_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_FUNCTION_NAMES_H_
