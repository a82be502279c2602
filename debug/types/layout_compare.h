// Whether a TypeGraph and gdb agree about a type: every member, its name, where it begins to the
// bit, how many bytes it has, how many bits a bitfield has, and so for members inside. Testonly.
#ifndef WATCHSNAP_DEBUG_TYPES_LAYOUT_COMPARE_H_
#define WATCHSNAP_DEBUG_TYPES_LAYOUT_COMPARE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "debug/types/gdb_layout.h"
#include "debug/types/member_path.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct ComparedCounts {
  int types = 0, unions = 0, with_bitfields = 0, with_anonymous = 0;
  int members = 0, offsets = 0, bitfields = 0;

  ComparedCounts& operator+=(const ComparedCounts& other) {
    types += other.types;
    unions += other.unions;
    with_bitfields += other.with_bitfields;
    with_anonymous += other.with_anonymous;
    members += other.members;
    offsets += other.offsets;
    bitfields += other.bitfields;
    return *this;
  }
};

class LayoutComparison {
 public:
  explicit LayoutComparison(const TypeGraph& graph) : graph_(graph) {}

  // Empty where all is equal, else what is not.
  std::vector<std::string> Compare(TypeId id, const GdbLayout& gdb) {
    differences_.clear();
    const ComparedCounts before = counts_;
    anonymous_ = 0;
    const auto size = graph_.SizeOf(id);
    if (!size.ok() || *size != gdb.size) {
      Differ(gdb.c_name, "size", size.value_or(0), gdb.size);
    }
    Members(gdb.c_name, id, 0, gdb.members);
    ++counts_.types;
    counts_.unions += graph_.type(id).kind == TypeKind::kUnion ? 1 : 0;
    counts_.with_bitfields += counts_.bitfields > before.bitfields ? 1 : 0;
    counts_.with_anonymous += anonymous_ > 0 ? 1 : 0;
    return differences_;
  }
  const ComparedCounts& counts() const { return counts_; }

 private:
  void Differ(const std::string& where, const char* what, uint64_t ours, uint64_t gdb) {
    differences_.push_back(absl::StrCat(where, ": ", what, " ", ours, ", gdb says ", gdb));
  }

  void Members(const std::string& where, TypeId id, uint64_t bit,
               const std::vector<GdbMember>& gdb) {
    const auto resolved = graph_.Resolve(id);
    if (!resolved.ok()) {
      differences_.push_back(absl::StrCat(where, ": ", resolved.status().message()));
      return;
    }
    const auto ours = graph_.type(*resolved).members();
    if (ours.size() != gdb.size()) {
      return Differ(where, "number of members", ours.size(), gdb.size());
    }
    for (size_t i = 0; i < ours.size(); ++i) {
      const std::string path = absl::StrCat(where, ".", gdb[i].name);
      const auto place = PlaceOf(graph_, ours[i], bit);
      const auto size = graph_.SizeOf(ours[i].type);
      if (!place.ok() || !size.ok()) {
        differences_.push_back(absl::StrCat(path, ": ", place.status().message(),
                                            size.status().message()));
        continue;
      }
      ++counts_.members;
      anonymous_ += ours[i].name().empty() ? 1 : 0;
      if (ours[i].name() != gdb[i].name) {
        differences_.push_back(absl::StrCat(path, ": named '", ours[i].name(), "'"));
      }
      if (*size != gdb[i].size) Differ(path, "size", *size, gdb[i].size);
      const uint64_t bits = place->is_bitfield ? place->bit_size : 0;
      if (bits != gdb[i].bitfield_size) Differ(path, "bits", bits, gdb[i].bitfield_size);
      counts_.bitfields += bits != 0 ? 1 : 0;
      if (gdb[i].bit_offset.has_value()) {
        ++counts_.offsets;
        if (place->bit_offset != *gdb[i].bit_offset) {
          Differ(path, "bit offset", place->bit_offset, *gdb[i].bit_offset);
        }
      }
      // Of an anonymous struct behind an array or a pointer gdb counts from the element's start.
      if (!gdb[i].members.empty() && !gdb[i].is_derived) {
        Members(path, ours[i].type, place->bit_offset, gdb[i].members);
      }
    }
  }

  const TypeGraph& graph_;
  std::vector<std::string> differences_;
  ComparedCounts counts_;
  int anonymous_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_LAYOUT_COMPARE_H_
