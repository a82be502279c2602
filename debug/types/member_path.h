// Where a member is inside a value, by the path one would write in C.
//
//   ASSIGN_OR_RETURN(TypeId task, graph.Find("struct task_struct"));
//   ASSIGN_OR_RETURN(MemberPlace place, FindMember(graph, task, "thread.ptrace_bps[2]"));
//   ASSIGN_OR_RETURN(uint64_t pointer, ReadUnsigned(graph, bytes, place));   // value_reader.h
//
// A path is names and indexes: `a.b[3].c`, `[2].x` of an array, `counter` of a data section (then a
// member of the variable). Members of anonymous structs and unions are found as in C. An index must
// be inside its array; that of a flexible array (or of one of length 0) is checked by who reads the
// bytes.
//
// Threads: pure functions. Errors: NotFound for a member that is not there, with those that are;
// OutOfRange for an index; InvalidArgument for what is not a path, or goes into a number or through
// a pointer; FailedPrecondition and ResourceExhausted for types that make no sense (work is
// bounded, whatever the file says).
// Units: bits, from the start of the value. A bitfield's place is that of its lowest bit.
#ifndef WATCHSNAP_DEBUG_TYPES_MEMBER_PATH_H_
#define WATCHSNAP_DEBUG_TYPES_MEMBER_PATH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct MemberPlace {
  uint64_t bit_offset = 0;
  uint64_t bit_size = 0;
  TypeId type = kVoidType;  // as declared, typedefs and all
  bool is_bitfield = false;
  bool operator==(const MemberPlace&) const = default;
};

// A whole value of this type.
absl::StatusOr<MemberPlace> WholePlace(const TypeGraph& graph, TypeId type);
// What a member of a struct or union is, when the struct begins at `struct_bit`.
absl::StatusOr<MemberPlace> PlaceOf(const TypeGraph& graph, const Member& member,
                                    uint64_t struct_bit = 0);
// One element. `array` must resolve to an array; the index is checked only for overflow.
absl::StatusOr<MemberPlace> ElementPlace(const TypeGraph& graph, const MemberPlace& array,
                                         uint64_t index);

absl::StatusOr<MemberPlace> FindMember(const TypeGraph& graph, TypeId root, std::string_view path);

// The same as far as the first pointer that the path goes through: the pointer's place, and the
// path that remains for its pointee (`rest`, empty where the path ended; a leading "." is taken
// off, "[0]" stays). For who has the pointee's bytes too.
struct MemberStep {
  MemberPlace place;
  std::string_view rest;
};
absl::StatusOr<MemberStep> FindMemberToPointer(const TypeGraph& graph, TypeId root,
                                               std::string_view path);

// "pid, tgid, comm, … (240 more)": what can be named in a value of this type, those of anonymous
// members too; empty for a type without members. With `wanted`, what resembles it comes first.
std::string ListMembers(const TypeGraph& graph, TypeId type, size_t limit = 24,
                        std::string_view wanted = "");

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_MEMBER_PATH_H_
