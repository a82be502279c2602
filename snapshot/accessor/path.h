// Paths into a report: names, indexes and quoted names, the same in C++ and on the command line.
//
//   captures[3].maps["mini.bss"].value.nr_enqueued
//
//   path  := [ name | index ] { "." name | index }
//   index := "[" digits "]" | "[" quoted "]"        quoted in "…" or '…'; \" and \\ inside
//   name  := one or more bytes other than . [ ] " '
//
// Threads: pure functions. Errors: INVALID_ARGUMENT with the place in the path and what belongs there.
#ifndef WATCHSNAP_SNAPSHOT_ACCESSOR_PATH_H_
#define WATCHSNAP_SNAPSHOT_ACCESSOR_PATH_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace watchsnap {

// A member's name, or the index of an array's element.
using PathStep = std::variant<std::string, uint64_t>;
using Path = std::vector<PathStep>;

// "" is the empty path: the thing itself.
absl::StatusOr<Path> ParsePath(std::string_view text);

// `path` with a member or an element added, quoted where the name needs it.
std::string MemberPath(std::string_view path, std::string_view name);
std::string ElementPath(std::string_view path, uint64_t index);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_ACCESSOR_PATH_H_
