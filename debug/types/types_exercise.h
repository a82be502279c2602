// Does with any bytes all that this folder can do with BTF and with values. For the mutation test
// and the fuzzer; a sanitizer watches. Testonly.
#ifndef WATCHSNAP_DEBUG_TYPES_TYPES_EXERCISE_H_
#define WATCHSNAP_DEBUG_TYPES_TYPES_EXERCISE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/types/span.h"
#include "debug/types/btf_reader.h"
#include "debug/types/member_path.h"
#include "debug/types/type_graph.h"
#include "debug/types/value_reader.h"
#include "debug/types/value_renderer.h"

namespace watchsnap {

// `value` stands in for a guest's memory.
inline void ExerciseGraph(const TypeGraph& types, absl::Span<const uint8_t> value) {
  const RenderLimits limits = {.max_values = 300, .max_json = 4000};
  const TypeId end = std::min<TypeId>(types.size(), 64);
  for (TypeId id = 0; id < end; ++id) {
    (void)types.SizeOf(id);
    CHECK(!types.Describe(id).empty());
    (void)types.Find(types.type(id).name());
    (void)ListMembers(types, id);
    (void)FindMember(types, id, "a.b[1].c");
    for (const Member& member : types.type(id).members().first(
             std::min<size_t>(types.type(id).members().size(), 8))) {
      const auto place = FindMember(types, id, member.name());
      if (!place.ok()) continue;
      (void)ReadUnsigned(types, value, *place);
      (void)ReadSigned(types, value, *place);
      (void)ReadBool(types, value, *place);
      (void)ReadFloat(types, value, *place);
      (void)ReadString(types, value, *place);
    }
    const RenderedValue rendered = RenderValue(types, id, value, limits);
    CHECK(!rendered.json.empty());
    CHECK_LE(rendered.json.size(), 3'000'000u);
    CHECK_LE(rendered.degraded.size(), limits.max_degraded + 1);
  }
}

// True if the bytes were accepted as BTF.
inline bool ExerciseTypes(std::vector<uint8_t> bytes, absl::Span<const uint8_t> value) {
  const auto graph = ReadBtf(std::move(bytes), {.name = "mutated BTF"});
  if (!graph.ok()) {
    CHECK(!graph.status().message().empty());
    return false;
  }
  ExerciseGraph(**graph, value);
  return true;
}

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_TYPES_EXERCISE_H_
