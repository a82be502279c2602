#include "debug/kernel/scx/enum_names.h"

#include <bit>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {

EnumNames::EnumNames(const TypeGraph& types, std::initializer_list<std::string_view> c_names) {
  for (const std::string_view c_name : c_names) {
    const absl::StatusOr<TypeId> type = types.Find(c_name);
    if (!type.ok()) continue;
    // A number of 4 bytes may be declared signed: its bits are what memory holds.
    const bool narrow = types.type(*type).size <= 4;
    for (const Enumerator& enumerator : types.type(*type).enumerators()) {
      names_.emplace_back(std::string(enumerator.name()),
                          narrow ? static_cast<uint32_t>(enumerator.value) : enumerator.value);
    }
    return;
  }
}

std::string_view EnumNames::NameOf(uint64_t value) const {
  for (const auto& [name, its] : names_) {
    if (its == value) return name;
  }
  return "";
}

std::optional<uint64_t> EnumNames::ValueOf(std::string_view name) const {
  for (const auto& [its, value] : names_) {
    if (its == name) return value;
  }
  return std::nullopt;
}

std::string EnumNames::FlagsOf(uint64_t value) const {
  if (value == 0) return "0";
  std::string text;
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t flag = uint64_t{1} << bit;
    if ((value & flag) == 0) continue;
    if (!text.empty()) text += '|';
    const std::string_view name = NameOf(flag);
    if (name.empty()) {
      absl::StrAppend(&text, "0x", absl::Hex(flag));
    } else {
      text += name;
    }
  }
  return text;
}

}  // namespace watchsnap
