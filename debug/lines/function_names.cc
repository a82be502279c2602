#include "debug/lines/function_names.h"

#include <string>
#include <utility>

#include "dwarf.h"

namespace watchsnap {
namespace {

// A copy of a copy of an abstract function is as deep as compilers go.
constexpr int kMaxHops = 8;
// Units that are between one of the index and the next; only partial and type units are.
constexpr int kMaxUnitsToSkip = 4096;
// Other units kept open at a time.
constexpr size_t kMaxUnits = 32;

std::optional<std::string> StringOf(DwarfHandle& dwarf, Dwarf_Die die, Dwarf_Half attribute) {
  Dwarf_Attribute attr = nullptr;
  if (!dwarf.Ok(dwarf_attr(die, attribute, &attr, dwarf.error()))) return std::nullopt;
  char* text = nullptr;
  std::optional<std::string> result;
  if (dwarf.Ok(dwarf_formstring(attr, &text, dwarf.error())) && text != nullptr) result = text;
  dwarf_dealloc_attribute(attr);
  return result;
}

}  // namespace

FunctionNames::FunctionNames(const DwarfSections& sections, const UnitIndex& index,
                             const DwarfUnit& unit, DwarfHandle& handle)
    : sections_(sections), index_(index) {
  units_.reserve(kMaxUnits);  // pointers into it are held
  units_.push_back({.unit = unit, .handle = &handle});
}

std::optional<UnitLines::Name> FunctionNames::Of(Dwarf_Die die) {
  return NameOf(units_[0], die, 0);
}

std::optional<UnitLines::Name> FunctionNames::NameOf(Unit& unit, Dwarf_Die die, int hops) {
  DwarfHandle& dwarf = *unit.handle;
  std::optional<std::string> name = StringOf(dwarf, die, DW_AT_name);
  if (name.has_value()) {
    return UnitLines::Name{
        .name = *std::move(name),
        .linkage_name = StringOf(dwarf, die, DW_AT_linkage_name).value_or("")};
  }
  if (hops == kMaxHops) return std::nullopt;
  for (Dwarf_Half attribute : {DW_AT_abstract_origin, DW_AT_specification}) {
    Dwarf_Attribute attr = nullptr;
    if (!dwarf.Ok(dwarf_attr(die, attribute, &attr, dwarf.error()))) continue;
    Dwarf_Half form = 0;
    Dwarf_Off offset = 0;
    Dwarf_Bool is_info = false;
    const bool refers = dwarf.Ok(dwarf_whatform(attr, &form, dwarf.error())) &&
                        form != DW_FORM_GNU_ref_alt && form != DW_FORM_ref_sup4 &&
                        form != DW_FORM_ref_sup8 && form != DW_FORM_ref_sig8 &&
                        dwarf.Ok(dwarf_global_formref_b(attr, &offset, &is_info, dwarf.error()));
    dwarf_dealloc_attribute(attr);
    // All but ref_addr count from the unit's header, and the unit is at 0 for libdwarf.
    if (!refers) continue;
    return NameAt(form == DW_FORM_ref_addr ? offset : unit.unit.offset + offset, hops + 1);
  }
  return std::nullopt;
}

std::optional<UnitLines::Name> FunctionNames::NameAt(uint64_t offset, int hops) {
  if (const auto known = known_.find(offset); known != known_.end()) return known->second;
  std::optional<UnitLines::Name> name;
  if (Unit* unit = UnitHolding(offset); unit != nullptr) {
    DwarfHandle& dwarf = *unit->handle;
    Dwarf_Die die = nullptr;
    if (dwarf.Ok(dwarf_offdie_b(dwarf.get(), offset - unit->unit.offset, true, &die,
                                dwarf.error()))) {
      name = NameOf(*unit, die, hops);
      dwarf_dealloc_die(die);
    }
  }
  known_[offset] = name;
  return name;
}

FunctionNames::Unit* FunctionNames::UnitHolding(uint64_t offset) {
  for (Unit& unit : units_) {
    if (offset >= unit.unit.offset && offset - unit.unit.offset < unit.unit.size) return &unit;
  }
  if (units_.size() == kMaxUnits) return nullptr;
  uint64_t start = index_.UnitBefore(offset).value_or(0);
  for (int i = 0; i < kMaxUnitsToSkip; ++i) {
    const absl::StatusOr<DwarfUnit> unit = sections_.UnitAt(start);
    if (!unit.ok()) return nullptr;
    if (offset - unit->offset < unit->size) {
      absl::StatusOr<std::unique_ptr<DwarfHandle>> handle = DwarfHandle::OfUnit(sections_, *unit);
      if (!handle.ok()) return nullptr;
      DwarfHandle* raw = handle->get();
      units_.push_back({.unit = *unit, .handle = raw, .owned = *std::move(handle)});
      return &units_.back();
    }
    start += unit->size;
  }
  return nullptr;
}

}  // namespace watchsnap
