// Type: one type of a kernel or program, as a TypeGraph holds it: a small record that refers to others by id.
//
// Ownership: names and parts point into the graph or into what it was read from.
// Units: `size` in bytes, offsets of members in bits from the start of their struct.
#ifndef WATCHSNAP_DEBUG_TYPES_TYPE_H_
#define WATCHSNAP_DEBUG_TYPES_TYPE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

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

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_TYPE_H_
