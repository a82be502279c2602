// Puts a TypeGraph together. For the readers in this folder, and for tests.
//
//   TypeGraphBuilder builder("vmlinux's .BTF", base);
//   TypeId id = builder.Add({.kind = TypeKind::kStruct, .size = 16});
//   absl::Span<Member> members = builder.AddMembers(id, 2);
//   members[0].c_name = builder.Intern("next"); …
//   ASSIGN_OR_RETURN(auto graph, std::move(builder).Build());
//
// Types may refer to ids that are added later; `Build` checks that all of them exist. `BuildFrom` makes a graph of a
// source instead, whose types it looks at once, to check them, and forgets again.
// Threads: one at a time. Ownership: names are either interned, or point into what `KeepAlive` got.
#ifndef WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_BUILDER_H_
#define WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_BUILDER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

class TypeGraphBuilder {
 public:
  // With a base, ids continue its; without, the first type added has id 1, after void.
  explicit TypeGraphBuilder(std::string origin, std::shared_ptr<const TypeGraph> base = nullptr);

  TypeId Add(const Type& type);
  // The record of a type added to this builder; valid until the next `Add`.
  Type& at(TypeId id);

  // Room for the parts of type `id`, to be filled in before `Build`.
  absl::Span<Member> AddMembers(TypeId id, size_t count) {
    return arena_.AddParts<Member>(at(id), count);
  }
  absl::Span<Enumerator> AddEnumerators(TypeId id, size_t count) {
    return arena_.AddParts<Enumerator>(at(id), count);
  }
  absl::Span<Parameter> AddParameters(TypeId id, size_t count) {
    return arena_.AddParts<Parameter>(at(id), count);
  }

  // A copy that lives as long as the graph.
  const char* Intern(std::string_view name) { return arena_.Intern(name); }
  void KeepAlive(std::shared_ptr<const void> owner);
  void SetStrings(std::string_view strings) { graph_->strings_ = strings; }

  // InvalidArgument, with the type and the id, where a type refers to one that is not there.
  absl::StatusOr<std::shared_ptr<const TypeGraph>> Build() &&;
  // The same, of all types of `source`; or what the source says is wrong.
  absl::StatusOr<std::shared_ptr<const TypeGraph>> BuildFrom(
      std::unique_ptr<const TypeSource> source) &&;

 private:
  void MakeBlocks();

  std::shared_ptr<TypeGraph> graph_;
  TypeArena arena_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_BUILDER_H_
