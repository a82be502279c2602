// Where a kernel keeps the exit kind of its sched_ext scheduler, and which values mean what.
//
// Errors: Unimplemented for a kernel without sched_ext; NotFound where its types lack something.
#ifndef WATCHSNAP_SNAPSHOT_SCX_EXIT_KIND_LAYOUT_H_
#define WATCHSNAP_SNAPSHOT_SCX_EXIT_KIND_LAYOUT_H_

#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/status/statusor.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct ExitKindLayout {
  // Run-time addresses. One of the two is 0.
  uint64_t root_address = 0;  // of the pointer scx_root
  uint64_t kind_address = 0;  // of the global scx_exit_kind, before 6.16
  uint64_t kind_offset = 0;   // of exit_kind in struct scx_sched
  // Of enum scx_exit_kind.
  uint64_t error = 0;
  uint64_t done = 0;
};

// `address_of`: the run-time address of a kernel symbol, or an error.
absl::StatusOr<ExitKindLayout> FindExitKindLayout(
    const TypeGraph& types,
    const std::function<absl::StatusOr<uint64_t>(std::string_view)>& address_of);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SCX_EXIT_KIND_LAYOUT_H_
