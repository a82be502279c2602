// Reads one compilation unit through libdwarf into UnitLines.
//
// Damaged debug information gives a Status, or leaves out what could not be read; never more work
// than a multiple of the unit's size.
//
// Threads: any; each call is independent. `sections` and `index` are only read.
// Sources: DWARF 5, sections 3.3 (subroutines, inlined instances), 2.17 (code ranges), 6.2 (lines).
#ifndef WATCHSNAP_DEBUG_LINES_UNIT_DECODER_H_
#define WATCHSNAP_DEBUG_LINES_UNIT_DECODER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "debug/lines/dwarf_sections.h"
#include "debug/lines/unit_index.h"
#include "debug/lines/unit_lines.h"

namespace watchsnap {

// The unit whose header is at `offset` of .debug_info.
absl::StatusOr<UnitLines> DecodeUnit(const DwarfSections& sections, const UnitIndex& index,
                                     uint64_t offset);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_UNIT_DECODER_H_
