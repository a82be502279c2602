#include "snapshot/scx/exit_kind_layout.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "debug/types/member_path.h"

namespace watchsnap {
namespace {

absl::StatusOr<uint64_t> Enumerated(const TypeGraph& types, const Type& type,
                                    std::string_view name) {
  for (const Enumerator& enumerator : type.enumerators()) {
    if (enumerator.name() == name) return enumerator.value;
  }
  return absl::NotFoundError(
      absl::StrCat("enum scx_exit_kind has no ", name, " in ", types.origin()));
}

}  // namespace

absl::StatusOr<ExitKindLayout> FindExitKindLayout(
    const TypeGraph& types,
    const std::function<absl::StatusOr<uint64_t>(std::string_view)>& address_of) {
  ExitKindLayout layout;
  const absl::StatusOr<uint64_t> root = address_of("scx_root");
  const absl::StatusOr<uint64_t> kind = address_of("scx_exit_kind");
  const absl::StatusOr<TypeId> sched = types.Find("struct scx_sched");
  if (root.ok() && sched.ok()) {
    const absl::StatusOr<MemberPlace> place = FindMember(types, *sched, "exit_kind");
    if (!place.ok()) return place.status();
    layout.root_address = *root;
    layout.kind_offset = place->bit_offset / 8;
  } else if (kind.ok()) {
    layout.kind_address = *kind;
  } else {
    return absl::UnimplementedError("the kernel has no sched_ext (no scx_root, no scx_exit_kind)");
  }
  const absl::StatusOr<TypeId> kinds = types.Find("enum scx_exit_kind");
  if (!kinds.ok()) return kinds.status();
  const absl::StatusOr<uint64_t> error = Enumerated(types, types.type(*kinds), "SCX_EXIT_ERROR");
  if (!error.ok()) return error.status();
  const absl::StatusOr<uint64_t> done = Enumerated(types, types.type(*kinds), "SCX_EXIT_DONE");
  if (!done.ok()) return done.status();
  layout.error = *error;
  layout.done = *done;
  return layout;
}

}  // namespace watchsnap
