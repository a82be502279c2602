// TypeSource: what a TypeGraph decodes types from at their first use, instead of all at once.
//
// Types are counted from the graph's first own: 0 is void in a graph without a base.
// Threads: const methods from any thread. Decoding the same twice gives the same.
#ifndef WATCHSNAP_DEBUG_TYPES_TYPE_SOURCE_H_
#define WATCHSNAP_DEBUG_TYPES_TYPE_SOURCE_H_

#include <cstddef>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "debug/types/type.h"
#include "debug/types/type_arena.h"

namespace watchsnap {

class TypeSource {
 public:
  virtual ~TypeSource() = default;
  virtual TypeId count() const = 0;
  // The types from `first` on, which is a multiple of TypeGraph::kBlock, into `types`, at most that many; their parts come
  // from `arena`. InvalidArgument where the source is damaged. Ids they refer to are the caller's to check.
  virtual absl::Status Decode(TypeId first, absl::Span<Type> types, TypeArena& arena) const = 0;
  // Of all that have a name, in order.
  virtual void ForEachName(
      absl::FunctionRef<void(TypeId, TypeKind, std::string_view name)> visit) const = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_TYPE_SOURCE_H_
