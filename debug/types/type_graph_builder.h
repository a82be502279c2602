// Puts a TypeGraph together. For the readers in this folder, and for tests.
//
//   TypeGraphBuilder builder("vmlinux's .BTF", base);
//   TypeId id = builder.Add({.kind = TypeKind::kStruct, .size = 16});
//   absl::Span<Member> members = builder.AddMembers(id, 2);
//   members[0].c_name = builder.Intern("next"); …
//   ASSIGN_OR_RETURN(auto graph, std::move(builder).Build());
//
// Types may refer to ids that are added later; `Build` checks that all of them exist.
// Threads: one at a time. Ownership: names are either interned, or point into what `KeepAlive` got.
#ifndef WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_BUILDER_H_
#define WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
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

  TypeId next_id() const { return graph_->size(); }
  void Reserve(size_t types) { graph_->types_.reserve(types); }
  TypeId Add(const Type& type);
  // The record of a type added to this builder; valid until the next `Add`.
  Type& at(TypeId id);

  // Room for the parts of type `id`, to be filled in before `Build`.
  absl::Span<Member> AddMembers(TypeId id, size_t count) { return Parts<Member>(id, count); }
  absl::Span<Enumerator> AddEnumerators(TypeId id, size_t count) {
    return Parts<Enumerator>(id, count);
  }
  absl::Span<Parameter> AddParameters(TypeId id, size_t count) {
    return Parts<Parameter>(id, count);
  }
  absl::Span<SectionVariable> AddVariables(TypeId id, size_t count) {
    return Parts<SectionVariable>(id, count);
  }

  // A copy that lives as long as the graph.
  const char* Intern(std::string_view name);
  void KeepAlive(std::shared_ptr<const void> owner);
  void SetStrings(std::string_view strings) { graph_->strings_ = strings; }

  // InvalidArgument, with the type and the id, where a type refers to one that is not there.
  absl::StatusOr<std::shared_ptr<const TypeGraph>> Build() &&;

 private:
  void* Allocate(size_t bytes);
  template <typename T>
  absl::Span<T> Parts(TypeId id, size_t count) {
    static_assert(alignof(T) <= 8);
    T* parts = static_cast<T*>(Allocate(count * sizeof(T)));
    for (size_t i = 0; i < count; ++i) new (parts + i) T();
    Type& type = at(id);
    type.details = parts;
    type.details_count = count;
    return absl::MakeSpan(parts, count);
  }

  std::shared_ptr<TypeGraph> graph_;
  char* free_ = nullptr;
  size_t free_bytes_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_BUILDER_H_
