// The report's `objects`: what stood behind pointers, by address, for every part that copied some.
// Threads: the renderer's.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_CAPTURED_OBJECTS_H_
#define WATCHSNAP_SNAPSHOT_PARTS_CAPTURED_OBJECTS_H_

#include <cstdint>
#include <string_view>

#include "snapshot/report/report.h"

namespace watchsnap {

// Adds {"0x…":{"type":…,"value":…}}; an address that is there already keeps what it has. `type` as C
// spells it, `value_json` one JSON value.
void AddCapturedObject(Report& report, uint64_t address, std::string_view type,
                       std::string_view value_json);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_CAPTURED_OBJECTS_H_
