#include "debug/lines/dwarf_handle.h"

#include <elf.h>

#include "absl/strings/str_cat.h"
#include "dwarf.h"

namespace watchsnap {
namespace {

using Sections = std::vector<DwarfSections::Section>;

constexpr Dwarf_Small kAddressBytes = 8;

int SectionInfo(void* object, Dwarf_Unsigned index, Dwarf_Obj_Access_Section_a* section, int*) {
  const Sections& sections = *static_cast<Sections*>(object);
  if (index >= sections.size()) return DW_DLV_NO_ENTRY;
  *section = {};
  section->as_name = sections[index].name.c_str();
  section->as_type = index == 0 ? SHT_NULL : SHT_PROGBITS;
  section->as_size = sections[index].bytes.size();
  section->as_addralign = 1;
  return DW_DLV_OK;
}

int LoadSection(void* object, Dwarf_Unsigned index, Dwarf_Small** data, int*) {
  const Sections& sections = *static_cast<Sections*>(object);
  if (index >= sections.size() || sections[index].bytes.empty()) return DW_DLV_NO_ENTRY;
  // libdwarf writes into sections only to relocate them, and there is no relocation function here.
  *data = const_cast<Dwarf_Small*>(sections[index].bytes.data());
  return DW_DLV_OK;
}

Dwarf_Small ByteOrder(void*) { return DW_END_little; }
Dwarf_Small AddressSize(void*) { return kAddressBytes; }
Dwarf_Unsigned SectionCount(void* object) { return static_cast<Sections*>(object)->size(); }

// libdwarf takes it for nothing but the first size of a hash table, which grows as needed.
Dwarf_Unsigned FileSize(void*) { return 1 << 16; }

constexpr Dwarf_Obj_Access_Methods_a kMethods = {
    .om_get_section_info = SectionInfo,
    .om_get_byte_order = ByteOrder,
    .om_get_length_size = AddressSize,
    .om_get_pointer_size = AddressSize,
    .om_get_filesize = FileSize,
    .om_get_section_count = SectionCount,
    .om_load_section = LoadSection,
    .om_relocate_a_section = nullptr,
};

}  // namespace

DwarfHandle::DwarfHandle(const DwarfSections& sections) : path_(sections.path()) {
  sections_.push_back({"", {}});
  sections_.insert(sections_.end(), sections.shared().begin(), sections.shared().end());
}

absl::StatusOr<std::unique_ptr<DwarfHandle>> DwarfHandle::OfUnit(const DwarfSections& sections,
                                                                 const DwarfUnit& unit) {
  std::unique_ptr<DwarfHandle> handle(new DwarfHandle(sections));
  handle->sections_.push_back({".debug_info", sections.info().subspan(unit.offset, unit.size)});
  if (absl::Status status = handle->Open(); !status.ok()) return status;
  return handle;
}

absl::StatusOr<std::unique_ptr<DwarfHandle>> DwarfHandle::OfIndex(const DwarfSections& sections) {
  std::unique_ptr<DwarfHandle> handle(new DwarfHandle(sections));
  // libdwarf wants .debug_info beside it, to check offsets against its size.
  handle->sections_.push_back({".debug_info", sections.info()});
  handle->sections_.push_back({".debug_aranges", sections.aranges()});
  if (absl::Status status = handle->Open(); !status.ok()) return status;
  return handle;
}

absl::Status DwarfHandle::Open() {
  access_ = {.ai_object = &sections_, .ai_methods = &kMethods};
  const absl::StatusOr<bool> opened =
      Check(dwarf_object_init_b(&access_, nullptr, nullptr, DW_GROUPNUMBER_ANY, &debug_, &error_),
            "its sections");
  if (!opened.ok()) return opened.status();
  if (!*opened) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path_, "': libdwarf finds no debug information in its sections"));
  }
  return absl::OkStatus();
}

DwarfHandle::~DwarfHandle() {
  if (error_ != nullptr) dwarf_dealloc_error(debug_, error_);
  if (debug_ != nullptr) dwarf_object_finish(debug_);
}

absl::StatusOr<bool> DwarfHandle::Check(int result, std::string_view what) {
  if (result != DW_DLV_ERROR) return result == DW_DLV_OK;
  const std::string why = error_ == nullptr ? "unknown error" : dwarf_errmsg(error_);
  if (error_ != nullptr) dwarf_dealloc_error(debug_, error_);
  error_ = nullptr;
  return absl::InvalidArgumentError(absl::StrCat(
      "'", path_, "': libdwarf cannot read ", what, ": ", why, ". The file is damaged, or newer "
      "than libdwarf ", dwarf_package_version()));
}

bool DwarfHandle::Ok(int result) {
  if (result == DW_DLV_ERROR && error_ != nullptr) {
    dwarf_dealloc_error(debug_, error_);
    error_ = nullptr;
  }
  return result == DW_DLV_OK;
}

}  // namespace watchsnap
