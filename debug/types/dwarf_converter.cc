#include "debug/types/dwarf_converter.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

constexpr int kMaxDepth = 128;        // entries inside each other
constexpr size_t kMaxTypes = 50'000;  // of one graph
constexpr size_t kMaxParts = 100'000;  // members, enumerators, parameters or dimensions of one type

std::vector<DwarfEntry> ChildrenOf(const DwarfEntry& entry, Dwarf_Half tag) {
  std::vector<DwarfEntry> children;
  for (auto child = entry.Child(); child.has_value() && children.size() < kMaxParts;) {
    auto next = child->Sibling();
    if (child->tag() == tag) children.push_back(*std::move(child));
    child = std::move(next);
  }
  return children;
}

std::optional<TypeKind> QualifierOf(Dwarf_Half tag) {
  switch (tag) {
    case DW_TAG_typedef: return TypeKind::kTypedef;
    case DW_TAG_const_type: return TypeKind::kConst;
    case DW_TAG_volatile_type: return TypeKind::kVolatile;
    case DW_TAG_restrict_type: return TypeKind::kRestrict;
    case DW_TAG_atomic_type: return TypeKind::kTypedef;
    default: return std::nullopt;
  }
}

}  // namespace

absl::Status DwarfConverter::Damaged(const DwarfEntry& entry, const char* why) const {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: the entry at %#x of its unit (tag %#x, '%.64s') %s", origin_,
                      entry.offset(), entry.tag(), entry.name(), why));
}

absl::StatusOr<TypeId> DwarfConverter::Convert(uint64_t offset, bool whole, int depth) {
  if (const auto known = done_.find({offset, whole}); known != done_.end()) return known->second;
  if (depth > kMaxDepth || done_.size() > kMaxTypes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s: a type of more than %d types, or nested more than %d deep", origin_,
                        kMaxTypes, kMaxDepth));
  }
  const auto entry = DwarfEntry::At(handle_, offset);
  if (!entry.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: there is no entry at %#x of its unit", origin_, offset));
  }
  if (entry->tag() == DW_TAG_unspecified_type) return kVoidType;
  const TypeId id = builder_.Add({.c_name = builder_.Intern(entry->name())});
  done_[{offset, whole}] = id;
  if (auto status = Fill(*entry, id, whole, depth); !status.ok()) return status;
  return id;
}

absl::StatusOr<TypeId> DwarfConverter::TargetOf(const DwarfEntry& entry, bool whole, int depth) {
  const auto offset = entry.TypeOffset();
  if (!offset.has_value()) return kVoidType;
  return Convert(*offset, whole, depth + 1);
}

absl::Status DwarfConverter::Fill(const DwarfEntry& entry, TypeId id, bool whole, int depth) {
  const Dwarf_Half tag = entry.tag();
  if (const auto qualifier = QualifierOf(tag); qualifier.has_value()) {
    builder_.at(id).kind = *qualifier;
    const auto target = TargetOf(entry, whole, depth);
    if (!target.ok()) return target.status();
    builder_.at(id).target = *target;
    return absl::OkStatus();
  }
  switch (tag) {
    case DW_TAG_base_type:
      return FillInt(entry, id);
    case DW_TAG_pointer_type: {
      builder_.at(id).kind = TypeKind::kPointer;
      builder_.at(id).size = entry.Unsigned(DW_AT_byte_size).value_or(8);
      const auto target = TargetOf(entry, false, depth);
      if (!target.ok()) return target.status();
      builder_.at(id).target = *target;
      return absl::OkStatus();
    }
    case DW_TAG_structure_type:
    case DW_TAG_union_type: {
      Type& type = builder_.at(id);
      const bool is_union = tag == DW_TAG_union_type;
      // One without a name could not be asked for in turn, so its members are taken.
      if (entry.Has(DW_AT_declaration) || (!whole && !entry.name().empty())) {
        type.kind = TypeKind::kForward;
        type.is_union = is_union;
        return absl::OkStatus();
      }
      type.kind = is_union ? TypeKind::kUnion : TypeKind::kStruct;
      const auto size = entry.Unsigned(DW_AT_byte_size);
      if (!size.has_value()) return Damaged(entry, "has no size");
      type.size = *size;
      return FillMembers(entry, id, depth);
    }
    case DW_TAG_enumeration_type:
      return FillEnum(entry, id);
    case DW_TAG_array_type:
      return FillArray(entry, id, whole, depth);
    case DW_TAG_subroutine_type:
      return FillPrototype(entry, id, depth);
    default:
      return Damaged(entry, "is no type of C");
  }
}

absl::Status DwarfConverter::FillInt(const DwarfEntry& entry, TypeId id) {
  Type& type = builder_.at(id);
  const auto size = entry.Unsigned(DW_AT_byte_size);
  if (!size.has_value() || *size == 0 || *size > 16) return Damaged(entry, "has no size of C");
  type.size = *size;
  switch (entry.Unsigned(DW_AT_encoding).value_or(0)) {
    case DW_ATE_float:
      type.kind = TypeKind::kFloat;
      return absl::OkStatus();
    case DW_ATE_boolean:
      type.encoding = IntEncoding::kBool;
      break;
    case DW_ATE_signed:
    case DW_ATE_signed_char:
      type.is_signed = true;
      break;
    default:
      break;
  }
  type.kind = TypeKind::kInt;
  type.bits = static_cast<uint8_t>(entry.Unsigned(DW_AT_bit_size).value_or(*size * 8));
  if (*size == 1 && type.name() == "char") type.encoding = IntEncoding::kChar;
  return absl::OkStatus();
}

absl::Status DwarfConverter::FillMembers(const DwarfEntry& entry, TypeId id, int depth) {
  const std::vector<DwarfEntry> entries = ChildrenOf(entry, DW_TAG_member);
  const absl::Span<Member> members = builder_.AddMembers(id, entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const DwarfEntry& from = entries[i];
    const auto type = TargetOf(from, true, depth);
    if (!type.ok()) return type.status();
    Member& member = members[i];
    member.c_name = builder_.Intern(from.name());
    member.type = *type;
    const uint64_t bits = from.Unsigned(DW_AT_bit_size).value_or(0);
    if (bits > 128) return Damaged(from, "is a bitfield of more than 128 bits");
    member.bitfield_size = static_cast<uint8_t>(bits);
    // Beyond this no offset in bits exists.
    const uint64_t bytes = from.Unsigned(DW_AT_data_member_location).value_or(0);
    if (bytes > UINT64_MAX / 64) return Damaged(from, "is beyond all memory");
    member.bit_offset = bytes * 8 + from.Unsigned(DW_AT_data_bit_offset).value_or(0);
    if (const auto from_high = from.Unsigned(DW_AT_bit_offset); from_high.has_value()) {
      // DWARF 2 and 3 count from the highest bit of the storage.
      const uint64_t storage = from.Unsigned(DW_AT_byte_size).value_or(0) * 8;
      if (storage < *from_high + bits) return Damaged(from, "is outside its storage");
      member.bit_offset += storage - *from_high - bits;
    }
  }
  return absl::OkStatus();
}

absl::Status DwarfConverter::FillEnum(const DwarfEntry& entry, TypeId id) {
  const std::vector<DwarfEntry> entries = ChildrenOf(entry, DW_TAG_enumerator);
  const absl::Span<Enumerator> enumerators = builder_.AddEnumerators(id, entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    enumerators[i].c_name = builder_.Intern(entries[i].name());
    enumerators[i].value = entries[i].Unsigned(DW_AT_const_value).value_or(0);
  }
  Type& type = builder_.at(id);
  type.kind = TypeKind::kEnum;
  const auto size = entry.Unsigned(DW_AT_byte_size);
  if (!size.has_value() && entry.Has(DW_AT_declaration)) {
    type.kind = TypeKind::kForward;
    return absl::OkStatus();
  }
  if (!size.has_value() || *size == 0 || *size > 8) return Damaged(entry, "has no size of C");
  type.size = *size;
  uint64_t encoding = entry.Unsigned(DW_AT_encoding).value_or(0);
  if (encoding == 0) {
    if (const auto under = entry.TypeOffset(); under.has_value()) {
      const auto base = DwarfEntry::At(handle_, *under);
      if (base.has_value()) encoding = base->Unsigned(DW_AT_encoding).value_or(0);
    }
  }
  type.is_signed = encoding == DW_ATE_signed || encoding == DW_ATE_signed_char;
  return absl::OkStatus();
}

absl::Status DwarfConverter::FillArray(const DwarfEntry& entry, TypeId id, bool whole, int depth) {
  std::vector<uint64_t> counts;
  for (const DwarfEntry& range : ChildrenOf(entry, DW_TAG_subrange_type)) {
    const auto upper = range.Unsigned(DW_AT_upper_bound);
    counts.push_back(upper.has_value() ? *upper + 1  // -1 in one of no elements
                                       : range.Unsigned(DW_AT_count).value_or(0));
  }
  if (counts.empty()) counts.push_back(0);
  if (counts.size() > 16) return Damaged(entry, "is an array of more than 16 dimensions");
  const auto element = TargetOf(entry, whole, depth);
  if (!element.ok()) return element.status();
  // int a[2][3] is an array of 2 arrays of 3: `id` is the outermost.
  TypeId inner = *element;
  for (size_t i = counts.size(); i-- > 1;) {
    inner = builder_.Add({.kind = TypeKind::kArray, .target = inner, .details_count = counts[i]});
  }
  Type& type = builder_.at(id);
  type.kind = TypeKind::kArray;
  type.target = inner;
  type.details_count = counts[0];
  return absl::OkStatus();
}

absl::Status DwarfConverter::FillPrototype(const DwarfEntry& entry, TypeId id, int depth) {
  const std::vector<DwarfEntry> entries = ChildrenOf(entry, DW_TAG_formal_parameter);
  const bool variadic = !ChildrenOf(entry, DW_TAG_unspecified_parameters).empty();
  const auto parameters = builder_.AddParameters(id, entries.size() + (variadic ? 1 : 0));
  builder_.at(id).kind = TypeKind::kFunctionProto;
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto type = TargetOf(entries[i], false, depth);
    if (!type.ok()) return type.status();
    parameters[i].type = *type;
  }
  const auto result = TargetOf(entry, false, depth);
  if (!result.ok()) return result.status();
  builder_.at(id).target = *result;
  return absl::OkStatus();
}

}  // namespace watchsnap
