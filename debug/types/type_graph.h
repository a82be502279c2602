// The types of one kernel or program, whatever format they were read from (btf_reader.h,
// dwarf_types.h). A type is a small record with an id; records refer to each other by id.
//
//   ASSIGN_OR_RETURN(TypeId id, graph->Find("struct task_struct"));
//   for (const Member& member : graph->type(id).members()) …
//
// Id 0 is `void`. A graph may continue another, its base, as the BTF of a module or program does
// that of the kernel: ids below `base->size()` are the base's.
//
// Every id inside a graph was checked when it was built, so `type(id)` of a graph's own ids cannot
// fail. What a hostile file can still say is odd, not unsafe: chains of typedefs that end nowhere,
// members outside their struct, structs inside themselves. Whoever walks types bounds the walk
// (`Resolve`, `SizeOf` and everything in this folder do), and whoever reads bytes checks them.
//
// A graph that has a source (BTF) holds only the types that were asked for: they are decoded from it in blocks of
// kBlock, each at its first use. A kernel has 120,000 types, 9 MB of them, and a run looks at some hundred.
//
// Threads: immutable to whoever uses it; every method from any thread. The index by name is built at the first `Find`
// of its kind, once (a few ms for a kernel). Not for the frozen path: decoding allocates.
// Ownership: names and spans point into the graph, which keeps alive what it was read from.
// Units: `size` in bytes, offsets of members in bits from the start of their struct.
#ifndef WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_H_
#define WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/base/thread_annotations.h"
#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "debug/types/type.h"
#include "debug/types/type_arena.h"
#include "debug/types/type_source.h"

namespace watchsnap {

class TypeGraph {
 public:
  TypeGraph(const TypeGraph&) = delete;
  TypeGraph& operator=(const TypeGraph&) = delete;

  // Where the types are from, for messages: "vmlinux's .BTF".
  const std::string& origin() const { return origin_; }
  const std::shared_ptr<const TypeGraph>& base() const { return base_; }
  // Ids are below this; with a base its ids are counted in.
  TypeId size() const { return first_own_ + own_; }
  TypeId first_own() const { return first_own_; }

  // CHECKs that there is such a type.
  const Type& type(TypeId id) const {
    if (id < first_own_) return base_->type(id);
    const TypeId own = id - first_own_;
    CHECK_LT(own, own_) << "no type of this id in " << origin_;
    const Type* block = blocks_[own / kBlock].load(std::memory_order_acquire);
    if (block == nullptr) block = DecodeBlock(own / kBlock);
    return block[own % kBlock];
  }

  // By a name as C spells it: "struct rq", "union sigval", "enum zone_type", or what is written
  // with one word or more, a typedef or a basic type: "u64", "unsigned int"; then a lone word is
  // looked for as struct, union and enum too. NotFound tells what resembles it; InvalidArgument
  // where several unlike types have the name (their ids are in the message).
  absl::StatusOr<TypeId> Find(std::string_view c_name) const;
  absl::StatusOr<TypeId> Find(TypeKind kind, std::string_view name) const;
  // All of that kind and name: this graph's own, then its base's.
  std::vector<TypeId> FindAll(TypeKind kind, std::string_view name) const;

  // Behind typedefs, qualifiers, type tags and variables. FailedPrecondition for a chain of more
  // than kMaxChain, which only a damaged file has.
  absl::StatusOr<TypeId> Resolve(TypeId id) const;
  // Bytes of a value. FailedPrecondition for what has no size: void, functions, a forward, and
  // damaged chains; a flexible array has 0.
  absl::StatusOr<uint64_t> SizeOf(TypeId id) const;
  // As C spells it: "struct list_head *", "char [16]", "const u32". For messages.
  std::string Describe(TypeId id) const;

  static constexpr int kMaxChain = 64;
  static constexpr TypeId kBlock = 64;

  // Of a graph read from BTF: its string section, which split BTF continues. Empty otherwise.
  std::string_view strings() const { return strings_; }
  // Where the offsets of strings end, its base's counted in.
  uint64_t strings_end() const {
    return (base_ == nullptr ? 0 : base_->strings_end()) + strings_.size();
  }

 private:
  friend class TypeGraphBuilder;
  struct NameIndex {
    absl::once_flag once;
    std::vector<std::pair<std::string_view, TypeId>> sorted;
  };
  TypeGraph() = default;
  const Type* DecodeBlock(TypeId block) const ABSL_LOCKS_EXCLUDED(decoding_);
  // InvalidArgument, with the type and the id, where one of these types, whose ids begin at `first`, refers to one that
  // is not there.
  absl::Status CheckReferences(TypeId first, absl::Span<const Type> types) const;
  const NameIndex& IndexOf(TypeKind kind) const;
  void AppendResembling(TypeKind kind, std::string_view name, size_t limit,
                        std::vector<std::string>& out) const;
  absl::StatusOr<TypeId> OneOf(TypeKind kind, std::string_view name) const;
  bool SameLayout(TypeId a, TypeId b) const;

  std::string origin_;
  std::shared_ptr<const TypeGraph> base_;
  TypeId first_own_ = 0;
  TypeId own_ = 0;           // how many
  std::vector<Type> types_;  // without a source: all of them
  std::string_view strings_;
  std::vector<std::shared_ptr<const void>> owners_;  // of what names and the source point into
  std::unique_ptr<const TypeSource> source_;
  // By number of the block; null: not decoded yet.
  std::unique_ptr<std::atomic<const Type*>[]> blocks_;
  mutable absl::Mutex decoding_;
  mutable TypeArena arena_ ABSL_GUARDED_BY(decoding_);  // parts, names, decoded blocks
  mutable std::array<NameIndex, kTypeKinds> indexes_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_H_
