// What gdb says of the layout of types, to compare with: `ptype /o`, as trees. For tests.
//
// Threads: one call at a time. Errors: FailedPrecondition where there is no gdb on this machine.
#ifndef WATCHSNAP_DEBUG_TYPES_GDB_LAYOUT_H_
#define WATCHSNAP_DEBUG_TYPES_GDB_LAYOUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace watchsnap {

struct GdbMember {
  std::string name;                    // empty where anonymous
  std::optional<uint64_t> bit_offset;  // from the outermost type's start; not said in a union
  uint64_t size = 0;                   // bytes; of a bitfield, of the type it is declared with
  uint64_t bitfield_size = 0;          // bits; 0 for what is not a bitfield
  bool is_derived = false;             // an array of, or a pointer to, what is spelled out here
  std::vector<GdbMember> members;      // of a struct or union that gdb spells out in place
};

struct GdbLayout {
  std::string c_name;   // "struct task_struct", as asked
  std::string refused;  // what gdb said instead of a layout
  uint64_t size = 0;
  std::vector<GdbMember> members;
};

// One gdb for all of them; it reads 400 MB, so some 20 s of CPU time.
absl::StatusOr<std::vector<GdbLayout>> AskGdb(const std::string& vmlinux,
                                              const std::vector<std::string>& c_names);

// Of gdb's output, with the line "@ NAME" before each type.
std::vector<GdbLayout> ParseGdb(std::string_view output);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_GDB_LAYOUT_H_
