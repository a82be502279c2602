// One entry (DIE) of DWARF, as far as types need it: its tag, its name, its numbers.
//
// Threads: as its DwarfHandle, which must outlive it. A damaged attribute is as one that is absent;
// what cannot be done without it is reported by who needs it.
#ifndef WATCHSNAP_DEBUG_TYPES_DWARF_ENTRY_H_
#define WATCHSNAP_DEBUG_TYPES_DWARF_ENTRY_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "debug/lines/dwarf_handle.h"
#include "dwarf.h"
#include "libdwarf.h"

namespace watchsnap {

class DwarfEntry {
 public:
  // None where no entry begins at this offset of the handle's unit.
  static std::optional<DwarfEntry> At(DwarfHandle& handle, uint64_t offset) {
    Dwarf_Die die = nullptr;
    if (!handle.Ok(dwarf_offdie_b(handle.get(), offset, true, &die, handle.error()))) return {};
    return DwarfEntry(handle, die);
  }
  DwarfEntry(DwarfEntry&& other) noexcept
      : handle_(other.handle_), die_(std::exchange(other.die_, nullptr)) {}
  DwarfEntry& operator=(DwarfEntry&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(die_, other.die_);
    return *this;
  }
  ~DwarfEntry() {
    if (die_ != nullptr) dwarf_dealloc_die(die_);
  }

  std::optional<DwarfEntry> Child() const {
    Dwarf_Die die = nullptr;
    if (!handle_->Ok(dwarf_child(die_, &die, handle_->error()))) return {};
    return DwarfEntry(*handle_, die);
  }
  std::optional<DwarfEntry> Sibling() const {
    Dwarf_Die die = nullptr;
    if (!handle_->Ok(dwarf_siblingof_c(die_, &die, handle_->error()))) return {};
    return DwarfEntry(*handle_, die);
  }

  uint64_t offset() const {
    Dwarf_Off offset = 0;
    return handle_->Ok(dwarf_dieoffset(die_, &offset, handle_->error())) ? offset : 0;
  }
  Dwarf_Half tag() const {
    Dwarf_Half tag = 0;
    return handle_->Ok(dwarf_tag(die_, &tag, handle_->error())) ? tag : 0;
  }
  // Valid as long as the file.
  std::string_view name() const {
    char* name = nullptr;
    return handle_->Ok(dwarf_diename(die_, &name, handle_->error())) && name != nullptr
               ? std::string_view(name)
               : std::string_view("");
  }
  bool Has(Dwarf_Half attribute) const {
    Dwarf_Bool has = false;
    return handle_->Ok(dwarf_hasattr(die_, attribute, &has, handle_->error())) && has;
  }
  std::optional<uint64_t> Unsigned(Dwarf_Half attribute) const {
    Dwarf_Attribute at = nullptr;
    if (!handle_->Ok(dwarf_attr(die_, attribute, &at, handle_->error()))) return {};
    std::optional<uint64_t> result;
    Dwarf_Unsigned value = 0;
    Dwarf_Signed negative = 0;
    if (handle_->Ok(dwarf_formudata(at, &value, handle_->error()))) {
      result = value;
    } else if (handle_->Ok(dwarf_formsdata(at, &negative, handle_->error()))) {
      result = static_cast<uint64_t>(negative);
    }
    dwarf_dealloc_attribute(at);
    return result;
  }
  // The entry that DW_AT_type names; none for void.
  std::optional<uint64_t> TypeOffset() const {
    Dwarf_Off offset = 0;
    Dwarf_Bool is_info = true;
    if (!handle_->Ok(dwarf_dietype_offset(die_, &offset, &is_info, handle_->error()))) return {};
    return offset;
  }
  // Of a variable with a fixed place (DW_OP_addr).
  std::optional<uint64_t> Address() const {
    Dwarf_Attribute at = nullptr;
    if (!handle_->Ok(dwarf_attr(die_, DW_AT_location, &at, handle_->error()))) return {};
    Dwarf_Unsigned size = 0;
    Dwarf_Ptr block = nullptr;
    std::optional<uint64_t> result;
    if (handle_->Ok(dwarf_formexprloc(at, &size, &block, handle_->error())) && size == 9) {
      const auto* bytes = static_cast<const uint8_t*>(block);
      uint64_t address = 0;
      for (int i = 8; i >= 1; --i) address = address << 8 | bytes[i];
      if (bytes[0] == DW_OP_addr) result = address;
    }
    dwarf_dealloc_attribute(at);
    return result;
  }

 private:
  DwarfEntry(DwarfHandle& handle, Dwarf_Die die) : handle_(&handle), die_(die) {}

  DwarfHandle* handle_;
  Dwarf_Die die_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_DWARF_ENTRY_H_
