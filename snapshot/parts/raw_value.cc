#include "snapshot/parts/raw_value.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {

void AppendRawValue(std::string& out, absl::Span<const uint8_t> bytes) {
  absl::StrAppend(
      &out, "\"hex:",
      ToHex(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())), "\"");
}

void AppendTypedValue(std::string& out, const TypeGraph& graph, TypeId type,
                      absl::Span<const uint8_t> bytes, const RenderLimits& limits,
                      std::string_view what, std::vector<Degraded>& degraded) {
  RenderedValue value = RenderValue(graph, type, bytes, limits);
  out += value.json;
  for (RenderedValue::Shortfall& lack : value.degraded) {
    std::string where(what);
    if (lack.what != "(value)") {
      absl::StrAppend(&where, absl::StartsWith(lack.what, "[") ? "" : ".", lack.what);
    }
    degraded.push_back({std::move(where), std::move(lack.why)});
  }
}

}  // namespace watchsnap
