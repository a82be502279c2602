// Makes a TypeGraph of one type of a unit's DWARF and of what it contains by value.
//
// Threads: one at a time. Errors: InvalidArgument for entries that make no type, ResourceExhausted
// for one that contains more than any kernel's does.
// Source of the tags and attributes: DWARF 5, chapter 5.
#ifndef WATCHSNAP_DEBUG_TYPES_DWARF_CONVERTER_H_
#define WATCHSNAP_DEBUG_TYPES_DWARF_CONVERTER_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "debug/lines/dwarf_handle.h"
#include "debug/types/dwarf_entry.h"
#include "debug/types/type_graph.h"
#include "debug/types/type_graph_builder.h"

namespace watchsnap {

class DwarfConverter {
 public:
  DwarfConverter(DwarfHandle& handle, std::string origin)
      : handle_(handle), origin_(std::move(origin)), builder_(origin_) {}

  // The type whose entry is at this offset of the unit; then `Build`.
  absl::StatusOr<TypeId> Convert(uint64_t offset) { return Convert(offset, true, 0); }
  absl::StatusOr<std::shared_ptr<const TypeGraph>> Build() && {
    return std::move(builder_).Build();
  }

 private:
  // `whole`: with its members; else, behind a pointer, structs and unions by name only.
  absl::StatusOr<TypeId> Convert(uint64_t offset, bool whole, int depth);
  absl::StatusOr<TypeId> TargetOf(const DwarfEntry& entry, bool whole, int depth);
  absl::Status Fill(const DwarfEntry& entry, TypeId id, bool whole, int depth);
  absl::Status FillInt(const DwarfEntry& entry, TypeId id);
  absl::Status FillMembers(const DwarfEntry& entry, TypeId id, int depth);
  absl::Status FillEnum(const DwarfEntry& entry, TypeId id);
  absl::Status FillArray(const DwarfEntry& entry, TypeId id, bool whole, int depth);
  absl::Status FillPrototype(const DwarfEntry& entry, TypeId id, int depth);
  absl::Status Damaged(const DwarfEntry& entry, const char* why) const;

  DwarfHandle& handle_;
  const std::string origin_;
  TypeGraphBuilder builder_;
  std::map<std::pair<uint64_t, bool>, TypeId> done_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_DWARF_CONVERTER_H_
