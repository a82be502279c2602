// The sections of DWARF that say where code comes from, checked against the file once.
//
// Of `.debug_info` only single units are ever handed out (`UnitAt`): libdwarf is shown one unit at
// a time (dwarf_handle.h), so no more than that can be read.
//
// Threads: immutable. Ownership: points into the ElfFile, which must live longer.
// Source of the layouts: DWARF 5, sections 7.4 (32- and 64-bit formats) and 7.5.1 (unit headers).
#ifndef WATCHSNAP_DEBUG_LINES_DWARF_SECTIONS_H_
#define WATCHSNAP_DEBUG_LINES_DWARF_SECTIONS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/symbols/elf_file.h"

namespace watchsnap {

// Where one unit lies in .debug_info: its header and all its entries.
struct DwarfUnit {
  uint64_t offset = 0;
  uint64_t size = 0;
};

class DwarfSections {
 public:
  struct Section {
    std::string name;
    absl::Span<const uint8_t> bytes;
  };

  // FailedPrecondition, with what to do, where the file has no debug information, has it
  // compressed, lacks .debug_aranges, or is not linked.
  static absl::StatusOr<DwarfSections> Of(const ElfFile& elf);

  const std::string& path() const { return path_; }
  // All that libdwarf may see, but for .debug_info and .debug_aranges.
  absl::Span<const Section> shared() const { return shared_; }
  absl::Span<const uint8_t> info() const { return info_; }
  absl::Span<const uint8_t> aranges() const { return aranges_; }

  // The unit whose header is at `offset`; InvalidArgument if there cannot be one, or it is larger
  // than any that a compiler makes.
  absl::StatusOr<DwarfUnit> UnitAt(uint64_t offset) const;
  // Bytes of the line table at `offset` of .debug_line, with its header; nullopt if none fits.
  std::optional<uint64_t> LineTableSize(uint64_t offset) const;

 private:
  DwarfSections() = default;

  std::string path_;
  std::vector<Section> shared_;
  absl::Span<const uint8_t> info_;
  absl::Span<const uint8_t> aranges_;
  absl::Span<const uint8_t> line_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_DWARF_SECTIONS_H_
