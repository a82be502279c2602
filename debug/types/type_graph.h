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
// Threads: immutable; every method from any thread. The index by name is built at the first `Find`
// of its kind, once (a few ms for a kernel).
// Ownership: names and spans point into the graph, which keeps alive what it was read from.
// Units: `size` in bytes, offsets of members in bits from the start of their struct.
#ifndef WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_H_
#define WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap {

using TypeId = uint32_t;
inline constexpr TypeId kVoidType = 0;

enum class TypeKind : uint8_t {
  kVoid,
  kInt,
  kFloat,
  kPointer,
  kArray,     // count() == 0 is a flexible array where it ends a struct
  kStruct,
  kUnion,
  kEnum,      // of any size up to 8 bytes
  kForward,   // a struct, union or enum of which only the name is known
  kTypedef,
  kConst,
  kVolatile,
  kRestrict,
  kFunctionProto,
  kFunction,
  kVariable,
  kDataSection,  // .bss, .data…: variables and where they are in it
  kDeclTag,
  kTypeTag,
};
inline constexpr size_t kTypeKinds = 19;

// "struct", "typedef", … for messages.
std::string_view TypeKindName(TypeKind kind);

// `c_name` is NUL-terminated and kept alive by the graph; null for what has no name: an anonymous
// struct or union inside another, a padding bitfield.
// At most kMaxTypeName bytes count, so that a damaged file cannot make each look at a name dear.
inline constexpr size_t kMaxTypeName = 4096;
inline std::string_view NameView(const char* c_name) {
  return c_name == nullptr ? std::string_view("")
                           : std::string_view(c_name, strnlen(c_name, kMaxTypeName));
}

struct Member {
  const char* c_name = nullptr;
  TypeId type = kVoidType;
  uint8_t bitfield_size = 0;  // in bits; 0 for what is not a bitfield
  uint64_t bit_offset = 0;    // from the start of the struct; of a bitfield's lowest bit

  std::string_view name() const { return NameView(c_name); }
};

struct Enumerator {
  const char* c_name = nullptr;
  uint64_t value = 0;  // sign-extended where the enum is signed

  std::string_view name() const { return NameView(c_name); }
};

struct Parameter {
  const char* c_name = nullptr;
  TypeId type = kVoidType;  // void and no name, as the last: variadic

  std::string_view name() const { return NameView(c_name); }
};

struct SectionVariable {
  TypeId variable = kVoidType;
  uint32_t offset = 0;  // in the section
  uint32_t size = 0;
};

enum class IntEncoding : uint8_t { kNumber, kChar, kBool };  // kChar: C's `char`, signed or not

struct Type {
  const char* c_name = nullptr;
  TypeKind kind = TypeKind::kVoid;
  IntEncoding encoding = IntEncoding::kNumber;  // of an int
  uint8_t bits = 0;             // of an int: those that are its value, from the lowest
  uint8_t bit_start = 0;        // of an int: the lowest of them (0 but in old bitfields)
  bool is_signed = false;       // of an int or an enum
  bool is_union = false;        // of a forward
  uint64_t size = 0;            // of int, float, pointer, struct, union, enum, data section
  TypeId target = kVoidType;    // pointee, element, typedef's or qualifier's or variable's or tag's
                                // type, what a function returns or the prototype it has
  int32_t component = -1;       // of a decl tag: the member or parameter it is on; -1 for the whole
  uint64_t details_count = 0;   // of what `details` points to; the elements of an array
  const void* details = nullptr;

  std::string_view name() const { return NameView(c_name); }
  uint64_t count() const { return details_count; }
  absl::Span<const Member> members() const {
    return IsStructOrUnion() ? Details<Member>() : absl::Span<const Member>();
  }
  absl::Span<const Enumerator> enumerators() const {
    return kind == TypeKind::kEnum ? Details<Enumerator>() : absl::Span<const Enumerator>();
  }
  absl::Span<const Parameter> parameters() const {
    return kind == TypeKind::kFunctionProto ? Details<Parameter>() : absl::Span<const Parameter>();
  }
  absl::Span<const SectionVariable> variables() const {
    return kind == TypeKind::kDataSection ? Details<SectionVariable>()
                                          : absl::Span<const SectionVariable>();
  }
  bool IsStructOrUnion() const { return kind == TypeKind::kStruct || kind == TypeKind::kUnion; }

 private:
  template <typename T>
  absl::Span<const T> Details() const {
    return absl::MakeConstSpan(static_cast<const T*>(details), details_count);
  }
};

class TypeGraph {
 public:
  TypeGraph(const TypeGraph&) = delete;
  TypeGraph& operator=(const TypeGraph&) = delete;

  // Where the types are from, for messages: "vmlinux's .BTF".
  const std::string& origin() const { return origin_; }
  const std::shared_ptr<const TypeGraph>& base() const { return base_; }
  // Ids are below this; with a base its ids are counted in.
  TypeId size() const { return first_own_ + static_cast<TypeId>(types_.size()); }
  TypeId first_own() const { return first_own_; }

  // CHECKs that there is such a type.
  const Type& type(TypeId id) const {
    if (id < first_own_) return base_->type(id);
    CHECK_LT(id - first_own_, types_.size()) << "no type of this id in " << origin_;
    return types_[id - first_own_];
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
  const NameIndex& IndexOf(TypeKind kind) const;
  void AppendResembling(TypeKind kind, std::string_view name, size_t limit,
                        std::vector<std::string>& out) const;
  absl::StatusOr<TypeId> OneOf(TypeKind kind, std::string_view name) const;
  bool SameLayout(TypeId a, TypeId b) const;

  std::string origin_;
  std::shared_ptr<const TypeGraph> base_;
  TypeId first_own_ = 0;
  std::vector<Type> types_;
  std::string_view strings_;
  std::vector<std::unique_ptr<char[]>> arena_;       // details and names
  std::vector<std::shared_ptr<const void>> owners_;  // of what names point into
  mutable std::array<NameIndex, kTypeKinds> indexes_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_TYPE_GRAPH_H_
