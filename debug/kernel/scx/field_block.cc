#include "debug/kernel/scx/field_block.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace watchsnap {

FieldBlock::FieldBlock(const TypeGraph& types, std::string_view c_name, Presence presence)
    : types_(types), name_(c_name) {
  if (presence == Presence::kExpected) missing_ = StructFields(types, c_name).missing();
}

FieldBlock::Slot FieldBlock::Add(std::initializer_list<std::string_view> paths,
                                 Presence presence) {
  const Slot slot = fields_.size();
  StructFields fields(types_, name_);
  StructField field = fields.FindFirst(paths);
  std::string why;
  if (fields.found() && !field.found()) why = fields.missing().back();
  if (field.found()) {
    const uint32_t begin = found() ? std::min(begin_, field.offset) : field.offset;
    const uint64_t end = std::max<uint64_t>(end_, field.end());
    if (end - begin > kMaxBytes) {
      why = absl::StrCat(name_, "'s ", *paths.begin(), " is too far from the members before it");
      field = {};
    } else {
      begin_ = begin;
      end_ = static_cast<uint32_t>(end);
    }
  }
  if (!why.empty() && presence == Presence::kExpected) missing_.push_back(std::move(why));
  fields_.push_back(field);
  return slot;
}

bool FieldBlock::Read(MemoryReader& reader, uint64_t object, Copy& copy) const {
  copy.known =
      found() && reader.Read(object + begin_, absl::MakeSpan(copy.bytes.data(), end_ - begin_));
  return copy.known;
}

absl::Span<const uint8_t> FieldBlock::GetBytes(const Copy& copy, Slot slot) const {
  const StructField& field = fields_[slot];
  if (!copy.known || !field.found()) return {};
  return {copy.bytes.data() + (field.offset - begin_), field.size};
}

std::optional<uint64_t> FieldBlock::Get(const Copy& copy, Slot slot) const {
  const absl::Span<const uint8_t> bytes = GetBytes(copy, slot);
  uint64_t value = 0;
  const StructField whole = {.offset = 0, .size = static_cast<uint32_t>(bytes.size())};
  if (!whole.From(bytes, value)) return std::nullopt;
  return value;
}

std::optional<int64_t> FieldBlock::GetSigned(const Copy& copy, Slot slot) const {
  const std::optional<uint64_t> value = Get(copy, slot);
  if (!value.has_value()) return std::nullopt;
  const int unused = 64 - 8 * static_cast<int>(fields_[slot].size);
  return static_cast<int64_t>(*value << unused) >> unused;
}

}  // namespace watchsnap
