#include "debug/kernel/struct_field.h"

#include <cstring>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "debug/types/member_path.h"

namespace watchsnap {
namespace {

// No kernel struct that is walked is larger; what a damaged file says stays in 32 bits.
constexpr uint64_t kMaxStruct = 1 << 24;

}  // namespace

bool StructField::From(absl::Span<const uint8_t> object, uint64_t& value) const {
  if (!found() || size == 0 || size > 8 || end() > object.size()) return false;
  value = 0;
  std::memcpy(&value, object.data() + offset, size);
  return true;
}

bool StructField::Load(MemoryReader& reader, uint64_t object, uint64_t& value) const {
  if (!found() || size == 0 || size > 8) return false;
  uint8_t bytes[8] = {};
  if (!reader.Read(object + offset, absl::MakeSpan(bytes, size))) return false;
  std::memcpy(&value, bytes, sizeof value);
  return true;
}

bool StructField::LoadSigned(MemoryReader& reader, uint64_t object, int64_t& value) const {
  uint64_t raw = 0;
  if (!Load(reader, object, raw)) return false;
  const int unused = 64 - 8 * static_cast<int>(size);
  value = static_cast<int64_t>(raw << unused) >> unused;
  return true;
}

StructFields::StructFields(const TypeGraph& types, std::string_view c_name)
    : types_(types), name_(c_name) {
  const absl::StatusOr<TypeId> type = types.Find(c_name);
  if (!type.ok()) {
    missing_.push_back(std::string(type.status().message()));
    return;
  }
  type_ = *type;
  size_ = types.SizeOf(type_).value_or(0);
  found_ = true;
}

StructFields::StructFields(const TypeGraph& types, TypeId type)
    : types_(types), name_(types.Describe(type)), type_(type) {
  found_ = type != kVoidType;
  if (found_) size_ = types.SizeOf(type_).value_or(0);
}

StructField StructFields::FindFirst(std::initializer_list<std::string_view> paths) {
  if (!found_) return {};
  for (std::string_view path : paths) {
    const absl::StatusOr<MemberPlace> place = FindMember(types_, type_, path);
    if (!place.ok() || place->is_bitfield || place->bit_offset % 8 != 0) continue;
    const uint64_t offset = place->bit_offset / 8;
    const uint64_t size = place->bit_size / 8;
    if (offset > kMaxStruct || size > kMaxStruct) continue;
    return {.offset = static_cast<uint32_t>(offset), .size = static_cast<uint32_t>(size)};
  }
  missing_.push_back(absl::StrCat(name_, " has no ", *paths.begin()));
  return {};
}

TypeId PointeeOf(const TypeGraph& types, TypeId type, std::string_view path) {
  if (type == kVoidType) return kVoidType;
  const absl::StatusOr<MemberPlace> place = FindMember(types, type, path);
  if (!place.ok()) return kVoidType;
  const absl::StatusOr<TypeId> pointer = types.Resolve(place->type);
  if (!pointer.ok() || types.type(*pointer).kind != TypeKind::kPointer) return kVoidType;
  return types.Resolve(types.type(*pointer).target).value_or(kVoidType);
}

}  // namespace watchsnap
