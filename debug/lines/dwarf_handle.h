// libdwarf over one unit of the file that is already mapped: nothing is copied, nothing read ahead.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<DwarfHandle> handle, DwarfHandle::OfUnit(sections, unit));
//   Dwarf_Die die;
//   ASSIGN_OR_RETURN(bool found, handle->Check(dwarf_offdie_b(handle->get(), …), "an entry"));
//
// libdwarf takes the unit for all of .debug_info: offsets in it count from the unit's header.
// Whatever libdwarf allocated is freed with the handle.
//
// Threads: one at a time for each handle; different handles are independent of each other.
// Ownership: `sections` and its file must outlive the handle.
#ifndef WATCHSNAP_DEBUG_LINES_DWARF_HANDLE_H_
#define WATCHSNAP_DEBUG_LINES_DWARF_HANDLE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "debug/lines/dwarf_sections.h"
#include "libdwarf.h"

namespace watchsnap {

class DwarfHandle {
 public:
  static absl::StatusOr<std::unique_ptr<DwarfHandle>> OfUnit(const DwarfSections& sections,
                                                             const DwarfUnit& unit);
  // For .debug_aranges alone, of which no unit is read.
  static absl::StatusOr<std::unique_ptr<DwarfHandle>> OfIndex(const DwarfSections& sections);
  ~DwarfHandle();
  DwarfHandle(const DwarfHandle&) = delete;
  DwarfHandle& operator=(const DwarfHandle&) = delete;

  Dwarf_Debug get() const { return debug_; }
  // For libdwarf's last argument; `Check` takes what was put there.
  Dwarf_Error* error() { return &error_; }
  // True for DW_DLV_OK, false for DW_DLV_NO_ENTRY, libdwarf's words for an error.
  absl::StatusOr<bool> Check(int result, std::string_view what);
  // For what may be missing or damaged without harm: true for DW_DLV_OK.
  bool Ok(int result);

 private:
  explicit DwarfHandle(const DwarfSections& sections);
  absl::Status Open();

  std::string path_;
  std::vector<DwarfSections::Section> sections_;  // [0] is none, as in ELF
  Dwarf_Obj_Access_Interface_a access_ = {};
  Dwarf_Debug debug_ = nullptr;
  Dwarf_Error error_ = nullptr;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_DWARF_HANDLE_H_
