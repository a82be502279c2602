// The line table of a unit, read through libdwarf: rows, sequences and file names of UnitLines.
#ifndef WATCHSNAP_DEBUG_LINES_LINE_TABLE_H_
#define WATCHSNAP_DEBUG_LINES_LINE_TABLE_H_

#include "absl/status/status.h"
#include "debug/lines/dwarf_handle.h"
#include "debug/lines/dwarf_sections.h"
#include "debug/lines/unit_lines.h"
#include "libdwarf.h"

namespace watchsnap {

// `unit_die` is the unit's first entry. A unit without a line table is no error.
// File names are put together as addr2line does: build directory, directory, name, none of them
// simplified.
absl::Status ReadLineTable(const DwarfSections& sections, DwarfHandle& dwarf, Dwarf_Die unit_die,
                           UnitLines& lines);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_LINE_TABLE_H_
