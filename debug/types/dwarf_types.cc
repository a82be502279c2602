#include "debug/types/dwarf_types.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "debug/lines/dwarf_handle.h"
#include "debug/types/dwarf_converter.h"
#include "debug/types/dwarf_entry.h"

namespace watchsnap {
namespace {

// The bytes between an entry's start and its name: the abbreviation's number, and what few
// attributes a compiler puts before it (the size and encoding of basic types).
constexpr uint64_t kBeforeName = 16;
constexpr size_t kMaxUnits = 1024;  // looked into for one name

absl::Span<const uint8_t> SectionOf(const DwarfSections& sections, std::string_view name) {
  for (const DwarfSections::Section& section : sections.shared()) {
    if (section.name == name) return section.bytes;
  }
  return {};
}

// What stands in .debug_info for a name: the name itself, or the offset in .debug_str where it
// stands. 2 to 4 bytes.
class SpellingsOfName {
 public:
  SpellingsOfName(const DwarfSections& sections, std::string_view name) : starts_(1 << 16) {
    const std::string terminated = absl::StrCat(name, std::string_view("\0", 1));
    // A compiler writes those in place that are no longer than an offset, NUL included.
    if (terminated.size() <= sizeof(uint32_t)) {
      uint32_t value = 0;
      memcpy(&value, terminated.data(), terminated.size());
      Add(value, terminated.size() == 4 ? ~0u : (1u << (8 * terminated.size())) - 1);
    }
    // The linker keeps a string once: as itself, or as the end of a longer one, and then which of
    // those that end so it took cannot be told.
    const absl::Span<const uint8_t> strings = SectionOf(sections, ".debug_str");
    std::vector<uint64_t> own, ends;
    const uint8_t* at = strings.data();
    const uint8_t* const end = at + strings.size();
    while (at < end) {
      at = static_cast<const uint8_t*>(memmem(at, end - at, terminated.data(), terminated.size()));
      if (at == nullptr) break;
      const uint64_t offset = at - strings.data();
      (offset == 0 || at[-1] == 0 ? own : ends).push_back(offset);
      ++at;
    }
    for (const uint64_t offset : own.empty() ? ends : own) {
      Add(static_cast<uint32_t>(offset), ~0u);
    }
  }

  // Calls `take(place)` for every place in `bytes` where one stands, until it returns false.
  template <typename Take>
  void ForEachPlace(absl::Span<const uint8_t> bytes, Take take) const {
    if (spellings_.empty()) return;
    for (uint64_t place = 0; place + sizeof(uint32_t) <= bytes.size(); ++place) {
      uint32_t value;
      memcpy(&value, bytes.data() + place, sizeof(value));
      if (starts_[value & 0xffff] == 0) continue;
      for (const auto& [wanted, mask] : spellings_) {
        if ((value & mask) != wanted) continue;
        if (!take(place)) return;
        break;
      }
    }
  }

 private:
  void Add(uint32_t value, uint32_t mask) {
    spellings_.emplace_back(value, mask);
    starts_[value & 0xffff] = 1;
  }

  std::vector<uint8_t> starts_;  // by the first two bytes: whether one begins so
  std::vector<std::pair<uint32_t, uint32_t>> spellings_;  // value and mask
};

}  // namespace

class DwarfTypes::Spellings : public SpellingsOfName {
 public:
  using SpellingsOfName::SpellingsOfName;
};

struct DwarfTypes::Wanted {
  std::string_view name;
  std::string what;  // for messages
  std::vector<Dwarf_Half> tags;
  std::optional<uint64_t> address = {};

  bool IsVariable() const { return tags.front() == DW_TAG_variable; }
  bool Is(const DwarfEntry& entry) const {
    const Dwarf_Half tag = entry.tag();
    if (std::find(tags.begin(), tags.end(), tag) == tags.end() || entry.name() != name) {
      return false;
    }
    if (!IsVariable()) return !entry.Has(DW_AT_declaration);
    // `extern T x;` says the type as well, if it says it whole; a definition says where it is.
    if (entry.Has(DW_AT_declaration)) return entry.Has(DW_AT_external);
    return !address.has_value() || entry.Address() == address;
  }
};

absl::StatusOr<std::unique_ptr<DwarfTypes>> DwarfTypes::Open(std::shared_ptr<const ElfFile> elf) {
  auto sections = DwarfSections::Of(*elf);
  if (!sections.ok()) return sections.status();
  return std::unique_ptr<DwarfTypes>(new DwarfTypes(std::move(elf), *std::move(sections)));
}

const std::vector<DwarfUnit>& DwarfTypes::Units() const {
  absl::call_once(units_once_, [&] {
    for (uint64_t offset = 0; offset < sections_.info().size();) {
      const auto unit = sections_.UnitAt(offset);
      if (!unit.ok() || unit->size == 0) return;
      units_.push_back(*unit);
      offset += unit->size;
    }
  });
  return units_;
}

absl::StatusOr<std::optional<DwarfType>> DwarfTypes::FindInUnit(const Wanted& wanted,
                                                                const Spellings& spellings,
                                                                const DwarfUnit& unit) const {
  auto handle = DwarfHandle::OfUnit(sections_, unit);
  if (!handle.ok()) return handle.status();
  const auto bytes = sections_.info().subspan(unit.offset, unit.size);
  // The quick look: does an entry of this name and sort seem to begin before one of the places?
  std::vector<uint64_t> offsets;
  spellings.ForEachPlace(bytes, [&](uint64_t place) {
    for (uint64_t back = 1; back <= std::min(kBeforeName, place); ++back) {
      const auto entry = DwarfEntry::At(**handle, place - back);
      if (entry.has_value() && wanted.Is(*entry)) offsets.push_back(place - back);
    }
    return true;
  });
  if (offsets.empty()) return std::nullopt;
  // Bytes can look like an entry: what counts is one of the unit's own, of file scope.
  Dwarf_Off root_offset = 0;
  const auto header = (*handle)->Check(
      dwarf_get_cu_die_offset_given_cu_header_offset_b((*handle)->get(), 0, true, &root_offset,
                                                       (*handle)->error()),
      "the header of a unit");
  if (!header.ok()) return header.status();
  const auto root = DwarfEntry::At(**handle, root_offset);
  if (!root.has_value()) return std::nullopt;
  for (auto entry = root->Child(); entry.has_value(); entry = entry->Sibling()) {
    const uint64_t offset = entry->offset();
    if (std::find(offsets.begin(), offsets.end(), offset) == offsets.end()) continue;
    DwarfConverter converter(**handle, absl::StrCat("the DWARF of ", elf_->path()));
    auto type_offset = wanted.IsVariable() ? entry->TypeOffset() : offset;
    if (!type_offset.has_value()) continue;
    const auto id = converter.Convert(*type_offset);
    if (!id.ok()) return id.status();
    auto graph = std::move(converter).Build();
    if (!graph.ok()) return graph.status();
    // An `extern T x[];` or `extern struct s x;` does not say how large it is: elsewhere one does.
    if (wanted.IsVariable() && (*graph)->SizeOf(*id).value_or(0) == 0) continue;
    return DwarfType{.graph = *graph, .id = *id};
  }
  return std::nullopt;
}

absl::StatusOr<DwarfType> DwarfTypes::Find(const Wanted& wanted) const {
  const Spellings spellings(sections_, wanted.name);
  size_t looked_into = 0;
  absl::Status damage;
  const absl::Span<const uint8_t> info = sections_.info();
  for (const DwarfUnit& unit : Units()) {
    bool has_name = false;
    spellings.ForEachPlace(info.subspan(unit.offset, unit.size), [&](uint64_t) {
      has_name = true;
      return false;
    });
    if (!has_name) continue;
    if (++looked_into > kMaxUnits) break;
    auto result = FindInUnit(wanted, spellings, unit);
    if (!result.ok()) {
      damage.Update(result.status());
    } else if (result->has_value()) {
      return **result;
    }
  }
  if (!damage.ok()) return damage;
  if (looked_into > kMaxUnits) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%s is not in the first %d units of %s that have its name; the search ends there",
        wanted.what, kMaxUnits, elf_->path()));
  }
  return absl::NotFoundError(absl::StrFormat("no %s in the DWARF of %s (%d of its units have the "
                                             "name, none of them so)",
                                             wanted.what, elf_->path(), looked_into));
}

absl::StatusOr<DwarfType> DwarfTypes::FindType(std::string_view c_name) const {
  std::string_view name = c_name;
  Wanted wanted = {.name = "", .what = std::string(c_name.substr(0, 200)), .tags = {}};
  if (absl::ConsumePrefix(&name, "struct ")) {
    wanted.tags = {DW_TAG_structure_type};
  } else if (absl::ConsumePrefix(&name, "union ")) {
    wanted.tags = {DW_TAG_union_type};
  } else if (absl::ConsumePrefix(&name, "enum ")) {
    wanted.tags = {DW_TAG_enumeration_type};
  } else {
    wanted.tags = {DW_TAG_typedef, DW_TAG_base_type};
  }
  if (name.empty()) return absl::InvalidArgumentError("a type without a name");
  wanted.name = name;
  return Find(wanted);
}

absl::StatusOr<DwarfType> DwarfTypes::FindVariable(std::string_view name,
                                                   std::optional<uint64_t> link_address) const {
  if (name.empty()) return absl::InvalidArgumentError("a variable without a name");
  return Find({.name = name,
               .what = absl::StrCat("variable '", name.substr(0, 200), "' of file scope"),
               .tags = {DW_TAG_variable},
               .address = link_address});
}

}  // namespace watchsnap
