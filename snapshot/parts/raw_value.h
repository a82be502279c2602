// Values as JSON that every part renders alike: by their type, or as raw bytes where there is none.
// Threads: the renderer's.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_RAW_VALUE_H_
#define WATCHSNAP_SNAPSHOT_PARTS_RAW_VALUE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "debug/types/type_graph.h"
#include "debug/types/value_renderer.h"
#include "snapshot/report/report.h"

namespace watchsnap {

// "hex:0011ff" with its quotes.
void AppendRawValue(std::string& out, absl::Span<const uint8_t> bytes);

// Appends the value, and what it lacks to `degraded`, under `what` and the path inside the value:
// maps["x"].value.a[3].
void AppendTypedValue(std::string& out, const TypeGraph& graph, TypeId type,
                      absl::Span<const uint8_t> bytes, const RenderLimits& limits,
                      std::string_view what, std::vector<Degraded>& degraded);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_RAW_VALUE_H_
