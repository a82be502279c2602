// Types and global variables from DWARF, one at a time, where BTF does not have them: BTF knows of
// a kernel's variables only the per-CPU ones, and of a kernel built without it nothing.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<DwarfTypes> dwarf, DwarfTypes::Open(elf));
//   ASSIGN_OR_RETURN(DwarfType jiffies, dwarf->FindVariable("jiffies_64", link_address));
//   RenderValue(*jiffies.graph, jiffies.id, bytes);
//
// A kernel's DWARF has no index of names (no .debug_names; .debug_aranges knows code only), so a
// name is sought as bytes in .debug_info, 250 MB of which are looked at until it is found, but only
// the units that contain the name are parsed, and of these as little as the name needs. Expect
// 1 to 250 ms for one name; keep what was found. Nothing is kept here but where the units begin.
//
// The graph has the type and all that it contains by value; a struct or union behind a pointer is a
// kForward with its name, to be asked for in turn.
//
// Threads: any; each call works on its own. Ownership: a graph is independent of this and the file.
// Errors: NotFound for a name that is not there, InvalidArgument for damaged DWARF,
// FailedPrecondition where there is none, ResourceExhausted where more would have to be read than
// is sensible.
#ifndef WATCHSNAP_DEBUG_TYPES_DWARF_TYPES_H_
#define WATCHSNAP_DEBUG_TYPES_DWARF_TYPES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "debug/lines/dwarf_sections.h"
#include "debug/symbols/elf_file.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct DwarfType {
  std::shared_ptr<const TypeGraph> graph;
  TypeId id = kVoidType;
};

class DwarfTypes {
 public:
  // Reads nothing yet.
  static absl::StatusOr<std::unique_ptr<DwarfTypes>> Open(std::shared_ptr<const ElfFile> elf);

  // "struct rq", "union sigval", "enum zone_type"; without such a word a typedef or basic type.
  absl::StatusOr<DwarfType> FindType(std::string_view c_name) const;
  // The type of a variable of file scope; of a static one that several files have, the one at this
  // link-time address.
  absl::StatusOr<DwarfType> FindVariable(std::string_view name,
                                         std::optional<uint64_t> link_address) const;

 private:
  class Spellings;
  struct Wanted;
  DwarfTypes(std::shared_ptr<const ElfFile> elf, DwarfSections sections)
      : elf_(std::move(elf)), sections_(std::move(sections)) {}
  absl::StatusOr<DwarfType> Find(const Wanted& wanted) const;
  absl::StatusOr<std::optional<DwarfType>> FindInUnit(const Wanted& wanted,
                                                      const Spellings& spellings,
                                                      const DwarfUnit& unit) const;
  const std::vector<DwarfUnit>& Units() const;

  const std::shared_ptr<const ElfFile> elf_;
  const DwarfSections sections_;
  mutable absl::once_flag units_once_;
  mutable std::vector<DwarfUnit> units_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_DWARF_TYPES_H_
