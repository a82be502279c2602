// A value as JSON, from bytes that were copied while the guest stood still.
//
//   RenderedValue value = RenderValue(graph, type, bytes);
//   value.json       {"pid":42,"comm":"init","policy":"SCHED_EXT","parent":"0xffff88810004c000"}
//   value.degraded   {"tls_array[2]", "its bytes, from 5984, were not copied"} …
//
// What stands for what
//   int, short, u64…      a number; __int128 a string "0x" and 32 digits
//   bool                  true, false; a number where the byte is neither 0 nor 1
//   enum                  its name as a string; the number where it has no name for it
//   pointer               "0xffff888100000000"; "0x0"
//   float, double         a number; "NaN", "Infinity" and "-Infinity" as strings
//   char array            a string, up to the first NUL; bytes above 0x7e and control characters
//                         as \u00XX, so that each byte is one character
//   other array           an array; a flexible one has what whole elements fit into the bytes
//   struct, union         an object; of a union all members; the members of an anonymous struct or
//                         union are the outer one's, as in C; padding is left out
//   data section          an object of its variables
//   what cannot be read   null, and an entry in `degraded`
//
// Bounded whatever the types and the bytes say: depth, elements, values and text have limits, no
// length that stood in the file is ever allocated, and what is cut is said in `degraded`, which has
// a limit itself and says by how much it was passed.
// Threads: a pure function. It cannot fail; a value of which nothing can be said is null.
#ifndef WATCHSNAP_DEBUG_TYPES_VALUE_RENDERER_H_
#define WATCHSNAP_DEBUG_TYPES_VALUE_RENDERER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "debug/types/member_path.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct RenderLimits {
  size_t max_depth = 24;            // structs and arrays inside each other
  size_t max_elements = 256;        // of one array
  size_t max_string = 4096;         // bytes of one char array
  size_t max_values = 100'000;      // members and elements in all
  size_t max_json = 4 << 20;        // bytes of text, roughly: what is open is still closed
  size_t max_degraded = 32;         // entries
};

struct RenderedValue {
  struct Shortfall {
    std::string what;  // the path inside the value; "(value)" for all of it
    std::string why;
    bool operator==(const Shortfall&) const = default;
  };
  std::string json;
  std::vector<Shortfall> degraded;
};

RenderedValue RenderValue(const TypeGraph& graph, TypeId type, absl::Span<const uint8_t> bytes,
                          const RenderLimits& limits = {});
// Of a part of the value that `bytes` are.
RenderedValue RenderValue(const TypeGraph& graph, const MemberPlace& place,
                          absl::Span<const uint8_t> bytes, const RenderLimits& limits = {});

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_VALUE_RENDERER_H_
