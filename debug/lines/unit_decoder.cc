#include "debug/lines/unit_decoder.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "debug/lines/dwarf_handle.h"
#include "debug/lines/function_names.h"
#include "debug/lines/line_table.h"
#include "dwarf.h"
#include "libdwarf.h"

namespace watchsnap {
namespace {

// Inlining and blocks of a stock kernel nest to 29; deeper than this is taken for its parent.
constexpr uint32_t kMaxDepth = 96;
// libdwarf reads the entries below one to find the next beside it, unless told where that is: each
// level may cost the unit's size once more.
constexpr uint64_t kPassesOverUnit = 48;
constexpr size_t kMaxRanges = 1 << 21;
constexpr size_t kMaxScopes = 1 << 20;
constexpr Dwarf_Half kFirstWithRangeLists = 5;

// C and assembly have functions only at the top; other languages have them in namespaces and types.
bool IsFlat(Dwarf_Unsigned language) {
  switch (language) {
    case DW_LANG_C89: case DW_LANG_C: case DW_LANG_C99: case DW_LANG_C11: case DW_LANG_C17:
    case DW_LANG_Mips_Assembler:
      return true;
    default: return false;
  }
}

bool HoldsFunctions(Dwarf_Half tag) {
  switch (tag) {
    case DW_TAG_namespace: case DW_TAG_module: case DW_TAG_class_type:
    case DW_TAG_structure_type: case DW_TAG_union_type: case DW_TAG_enumeration_type:
      return true;
    default: return false;
  }
}

bool HoldsCode(Dwarf_Half tag) {
  switch (tag) {
    case DW_TAG_lexical_block: case DW_TAG_try_block: case DW_TAG_catch_block:
    case DW_TAG_with_stmt:
      return true;
    default: return false;
  }
}

absl::Status TooManyRanges() {
  return absl::InvalidArgumentError(absl::StrCat("a unit of debug information has more than ",
                                                 kMaxRanges, " ranges of code"));
}

class Decoder {
 public:
  Decoder(const DwarfSections& sections, const UnitIndex& index, const DwarfUnit& unit,
          DwarfHandle& dwarf, UnitLines& lines)
      : dwarf_(dwarf), names_(sections, index, unit, dwarf), lines_(lines),
        budget_(kPassesOverUnit * unit.size) {}

  absl::Status Decode(Dwarf_Die unit_die) {
    Dwarf_Unsigned language = 0;
    (void)dwarf_.Ok(dwarf_srclang(unit_die, &language, dwarf_.error()));
    flat_ = IsFlat(language);
    (void)dwarf_.Ok(dwarf_lowpc(unit_die, &unit_base_, dwarf_.error()));
    return Children(unit_die, UnitLines::kNone, 0);
  }

 private:
  // `scope` is the function or inlined place that `parent` belongs to.
  absl::Status Children(Dwarf_Die parent, uint32_t scope, uint32_t depth) {
    if (depth > kMaxDepth) return absl::OkStatus();
    Dwarf_Die die = nullptr;
    absl::StatusOr<bool> found =
        dwarf_.Check(dwarf_child(parent, &die, dwarf_.error()), "an entry of a unit");
    while (found.ok() && *found) {
      absl::Status status = Visit(die, scope, depth);
      Dwarf_Die next = nullptr;
      if (status.ok()) {
        found = dwarf_.Check(dwarf_siblingof_c(die, &next, dwarf_.error()), "an entry of a unit");
        if (found.ok() && *found) status = Charge(die, next);
      }
      dwarf_dealloc_die(die);
      if (!status.ok()) {
        if (next != nullptr) dwarf_dealloc_die(next);
        return status;
      }
      die = next;
    }
    return found.status();
  }

  absl::Status Charge(Dwarf_Die from, Dwarf_Die to) {
    Dwarf_Off begin = 0, end = 0;
    const bool known = dwarf_.Ok(dwarf_dieoffset(from, &begin, dwarf_.error())) &&
                       dwarf_.Ok(dwarf_dieoffset(to, &end, dwarf_.error()));
    if (!known || end <= begin || end - begin > budget_) {
      return absl::InvalidArgumentError(
          "a unit of debug information nests deeper than any compiler writes it: the file is "
          "damaged");
    }
    budget_ -= end - begin;
    return absl::OkStatus();
  }

  absl::Status Visit(Dwarf_Die die, uint32_t scope, uint32_t depth) {
    Dwarf_Half tag = 0;
    if (!dwarf_.Ok(dwarf_tag(die, &tag, dwarf_.error()))) return absl::OkStatus();
    const bool inlined = tag == DW_TAG_inlined_subroutine && scope != UnitLines::kNone;
    if (inlined || tag == DW_TAG_subprogram) return VisitScope(die, inlined, scope, depth);
    if (HoldsCode(tag) && scope != UnitLines::kNone) return Children(die, scope, depth + 1);
    if (!flat_ && scope == UnitLines::kNone && HoldsFunctions(tag)) {
      return Children(die, scope, depth + 1);
    }
    return absl::OkStatus();
  }

  absl::Status VisitScope(Dwarf_Die die, bool inlined, uint32_t parent, uint32_t depth) {
    const size_t first_range = lines_.ranges.size();
    const uint32_t scope = lines_.scopes.size();
    if (absl::Status status = Ranges(die, scope); !status.ok()) return status;
    const size_t end_own = lines_.ranges.size();
    // Without code it is a declaration, or the abstract instance that inlined places refer to.
    if (end_own == first_range) {
      return inlined ? Children(die, parent, depth + 1) : absl::OkStatus();
    }
    if (scope >= kMaxScopes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a unit of debug information has more than ", kMaxScopes, " functions"));
    }
    UnitLines::Scope& entry = lines_.scopes.emplace_back();
    entry.depth = depth;
    entry.name = Name(die);
    if (inlined) {
      entry.parent = parent;
      entry.call_file = Number(die, DW_AT_call_file);
      entry.call_line = Number(die, DW_AT_call_line);
      entry.call_column = Number(die, DW_AT_call_column);
    }
    if (absl::Status status = Children(die, scope, depth + 1); !status.ok()) return status;
    if (inlined) return absl::OkStatus();
    for (size_t i = first_range; i < end_own; ++i) {
      lines_.functions.push_back({.begin = lines_.ranges[i].begin,
                                  .end = lines_.ranges[i].end,
                                  .first_range = static_cast<uint32_t>(first_range),
                                  .end_range = static_cast<uint32_t>(lines_.ranges.size())});
    }
    return absl::OkStatus();
  }

  uint32_t Name(Dwarf_Die die) {
    std::optional<UnitLines::Name> name = names_.Of(die);
    if (!name.has_value()) return UnitLines::kNone;
    const auto [known, added] = name_numbers_.try_emplace(
        absl::StrCat(name->name, std::string_view("\0", 1), name->linkage_name),
        lines_.names.size());
    if (added) lines_.names.push_back(*std::move(name));
    return known->second;
  }

  uint32_t Number(Dwarf_Die die, Dwarf_Half attribute) {
    Dwarf_Attribute attr = nullptr;
    if (!dwarf_.Ok(dwarf_attr(die, attribute, &attr, dwarf_.error()))) return 0;
    Dwarf_Unsigned value = 0;
    if (!dwarf_.Ok(dwarf_formudata(attr, &value, dwarf_.error()))) value = 0;
    dwarf_dealloc_attribute(attr);
    return static_cast<uint32_t>(value);
  }

  absl::Status AddRange(uint64_t begin, uint64_t end, uint32_t scope) {
    // Address 0 is what is left of code that the linker threw away.
    if (begin == 0 || begin >= end) return absl::OkStatus();
    if (lines_.ranges.size() == kMaxRanges) return TooManyRanges();
    lines_.ranges.push_back({.begin = begin, .end = end, .scope = scope});
    return absl::OkStatus();
  }

  absl::Status Ranges(Dwarf_Die die, uint32_t scope) {
    Dwarf_Attribute attr = nullptr;
    if (dwarf_.Ok(dwarf_attr(die, DW_AT_ranges, &attr, dwarf_.error()))) {
      const absl::Cleanup free_attribute = [&] { dwarf_dealloc_attribute(attr); };
      Dwarf_Half version = 0, offset_size = 0;
      if (dwarf_get_version_of_die(die, &version, &offset_size) != DW_DLV_OK) {
        return absl::OkStatus();
      }
      return version >= kFirstWithRangeLists ? ListedRanges(attr, scope)
                                             : PlainRanges(die, attr, scope);
    }
    Dwarf_Addr begin = 0, end = 0;
    Dwarf_Half form = 0;
    Dwarf_Form_Class form_class = DW_FORM_CLASS_UNKNOWN;
    if (!dwarf_.Ok(dwarf_lowpc(die, &begin, dwarf_.error())) ||
        !dwarf_.Ok(dwarf_highpc_b(die, &end, &form, &form_class, dwarf_.error()))) {
      return absl::OkStatus();
    }
    if (form_class == DW_FORM_CLASS_CONSTANT) end += begin;
    return AddRange(begin, end, scope);
  }

  // .debug_rnglists
  absl::Status ListedRanges(Dwarf_Attribute attr, uint32_t scope) {
    Dwarf_Half form = 0;
    if (!dwarf_.Ok(dwarf_whatform(attr, &form, dwarf_.error()))) return absl::OkStatus();
    Dwarf_Unsigned where = 0;
    const int found = form == DW_FORM_rnglistx
                          ? dwarf_formudata(attr, &where, dwarf_.error())
                          : dwarf_global_formref(attr, &where, dwarf_.error());
    if (!dwarf_.Ok(found)) return absl::OkStatus();
    Dwarf_Rnglists_Head head = nullptr;
    Dwarf_Unsigned count = 0, offset = 0;
    if (!dwarf_.Ok(dwarf_rnglists_get_rle_head(attr, form, where, &head, &count, &offset,
                                               dwarf_.error())) ||
        head == nullptr) {
      return absl::OkStatus();
    }
    const absl::Cleanup free_head = [&] { dwarf_dealloc_rnglists_head(head); };
    for (Dwarf_Unsigned i = 0; i < count; ++i) {
      unsigned length = 0, code = 0;
      Dwarf_Unsigned raw1 = 0, raw2 = 0, begin = 0, end = 0;
      Dwarf_Bool unavailable = false;
      if (!dwarf_.Ok(dwarf_get_rnglists_entry_fields_a(head, i, &length, &code, &raw1, &raw2,
                                                       &unavailable, &begin, &end,
                                                       dwarf_.error()))) {
        break;
      }
      if (absl::Status status = Spend(); !status.ok()) return status;
      if (unavailable || code == DW_RLE_end_of_list || code == DW_RLE_base_address ||
          code == DW_RLE_base_addressx) {
        continue;
      }
      if (absl::Status status = AddRange(begin, end, scope); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // .debug_ranges, up to DWARF 4
  absl::Status PlainRanges(Dwarf_Die die, Dwarf_Attribute attr, uint32_t scope) {
    Dwarf_Off offset = 0, real_offset = 0;
    if (!dwarf_.Ok(dwarf_global_formref(attr, &offset, dwarf_.error()))) return absl::OkStatus();
    Dwarf_Ranges* ranges = nullptr;
    Dwarf_Signed count = 0;
    Dwarf_Unsigned bytes = 0;
    if (!dwarf_.Ok(dwarf_get_ranges_b(dwarf_.get(), offset, die, &real_offset, &ranges, &count,
                                      &bytes, dwarf_.error()))) {
      return absl::OkStatus();
    }
    const absl::Cleanup free_ranges = [&] { dwarf_dealloc_ranges(dwarf_.get(), ranges, count); };
    uint64_t base = unit_base_;
    for (Dwarf_Signed i = 0; i < count; ++i) {
      if (absl::Status status = Spend(); !status.ok()) return status;
      if (ranges[i].dwr_type == DW_RANGES_ADDRESS_SELECTION) base = ranges[i].dwr_addr2;
      if (ranges[i].dwr_type != DW_RANGES_ENTRY) continue;
      if (absl::Status status =
              AddRange(base + ranges[i].dwr_addr1, base + ranges[i].dwr_addr2, scope);
          !status.ok()) {
        return status;
      }
    }
    return absl::OkStatus();
  }

  // Lists can be shared by any number of entries.
  absl::Status Spend() {
    if (++list_entries_ <= kMaxRanges) return absl::OkStatus();
    return TooManyRanges();
  }

  DwarfHandle& dwarf_;
  FunctionNames names_;
  UnitLines& lines_;
  std::unordered_map<std::string, uint32_t> name_numbers_;
  uint64_t budget_;
  size_t list_entries_ = 0;
  Dwarf_Addr unit_base_ = 0;
  bool flat_ = false;
};

}  // namespace

absl::StatusOr<UnitLines> DecodeUnit(const DwarfSections& sections, const UnitIndex& index,
                                     uint64_t offset) {
  const absl::StatusOr<DwarfUnit> unit = sections.UnitAt(offset);
  if (!unit.ok()) return unit.status();
  absl::StatusOr<std::unique_ptr<DwarfHandle>> handle = DwarfHandle::OfUnit(sections, *unit);
  if (!handle.ok()) return handle.status();
  DwarfHandle& dwarf = **handle;
  UnitLines lines;
  Dwarf_Die unit_die = nullptr;
  Dwarf_Unsigned header_length = 0, type_offset = 0, next_header = 0;
  Dwarf_Half version = 0, address_size = 0, length_size = 0, extension_size = 0, unit_type = 0;
  Dwarf_Off abbrev_offset = 0;
  Dwarf_Sig8 signature = {};
  const absl::StatusOr<bool> found = dwarf.Check(
      dwarf_next_cu_header_e(dwarf.get(), true, &unit_die, &header_length, &version, &abbrev_offset,
                             &address_size, &length_size, &extension_size, &signature, &type_offset,
                             &next_header, &unit_type, dwarf.error()),
      "the header of a unit");
  if (!found.ok()) return found.status();
  if (!*found) return lines;
  const absl::Cleanup free_die = [&] { dwarf_dealloc_die(unit_die); };
  if (absl::Status status = ReadLineTable(sections, dwarf, unit_die, lines); !status.ok()) {
    return status;
  }
  Decoder decoder(sections, index, *unit, dwarf, lines);
  if (absl::Status status = decoder.Decode(unit_die); !status.ok()) return status;
  lines.scopes.shrink_to_fit();
  lines.ranges.shrink_to_fit();
  lines.functions.shrink_to_fit();
  lines.names.shrink_to_fit();
  return lines;
}

}  // namespace watchsnap
