// One value out of bytes: a number, a text, by its type.
//
//   ASSIGN_OR_RETURN(MemberPlace place, FindMember(graph, task, "pid"));
//   ASSIGN_OR_RETURN(int64_t pid, ReadSigned(graph, bytes, place));
//
// Nothing is converted that would change: a negative number is no unsigned one, a float is no
// integer. What each takes:
//   ReadUnsigned  ints, char, bool (0 or 1), enums, pointers; not below 0
//   ReadSigned    the same; not above INT64_MAX
//   ReadBool      bool, ints and pointers: whether it is not 0
//   ReadFloat     float and double; ints and enums where a double holds them exactly
//   ReadString    arrays of char, up to the first NUL; enums by name; a char
// Bitfields are read as what they are declared as. Bytes are little-endian.
//
// Threads: pure functions. Errors: InvalidArgument for the wrong type (with what it is, and its
// members if it has any), OutOfRange for a value the result cannot hold, DataLoss where the bytes
// end before the value.
#ifndef WATCHSNAP_DEBUG_TYPES_VALUE_READER_H_
#define WATCHSNAP_DEBUG_TYPES_VALUE_READER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/types/member_path.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

using Bytes = absl::Span<const uint8_t>;

absl::StatusOr<uint64_t> ReadUnsigned(const TypeGraph& graph, Bytes bytes,
                                      const MemberPlace& place);
absl::StatusOr<int64_t> ReadSigned(const TypeGraph& graph, Bytes bytes, const MemberPlace& place);
absl::StatusOr<bool> ReadBool(const TypeGraph& graph, Bytes bytes, const MemberPlace& place);
absl::StatusOr<double> ReadFloat(const TypeGraph& graph, Bytes bytes, const MemberPlace& place);
absl::StatusOr<std::string> ReadString(const TypeGraph& graph, Bytes bytes,
                                       const MemberPlace& place);

// Up to 64 bits from any bit; nullopt where the bytes do not have them all, or for more bits.
std::optional<uint64_t> LoadBits(Bytes bytes, uint64_t bit_offset, uint64_t bit_size);
// `value` of `bits` bits (1 to 64), its highest bit being the sign.
int64_t SignExtend(uint64_t value, uint64_t bits);
// The name of this value; nullptr where the enum has none for it. Of a bitfield, `bits` are it.
const Enumerator* FindEnumerator(const Type& type, uint64_t value, uint64_t bits);
// Whether its elements are text: an array of `char`.
bool IsCharArray(const TypeGraph& graph, const Type& array);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_VALUE_READER_H_
