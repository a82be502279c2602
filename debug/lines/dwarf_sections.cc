#include "debug/lines/dwarf_sections.h"

#include <elf.h>

#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

// A kernel of 250 MB of .debug_info has its largest unit at about 1 MB and 200 KB of
// .debug_aranges. What libdwarf allocates is a small multiple of what it is shown.
constexpr uint64_t kMaxUnitBytes = 16 << 20;
constexpr uint64_t kMaxArangesBytes = 8 << 20;
constexpr uint64_t kMaxRangeListBytes = 128 << 20;

constexpr std::array<std::string_view, 7> kShared = {
    ".debug_abbrev", ".debug_line",        ".debug_line_str", ".debug_str",
    ".debug_addr",   ".debug_str_offsets", ".debug_ranges"};
// libdwarf reads the header of every table in it as soon as it is there.
constexpr std::string_view kRangeLists = ".debug_rnglists";

// The length that begins a unit, of either format, counting the field itself.
std::optional<uint64_t> InitialLength(absl::Span<const uint8_t> bytes, uint64_t offset) {
  constexpr uint32_t kEscape64 = 0xffffffff;
  constexpr uint32_t kReserved = 0xfffffff0;
  if (offset > bytes.size() || bytes.size() - offset < sizeof(uint32_t)) return std::nullopt;
  uint32_t narrow;
  std::memcpy(&narrow, bytes.data() + offset, sizeof(narrow));
  uint64_t length = narrow;
  uint64_t field = sizeof(uint32_t);
  if (narrow == kEscape64) {
    field += sizeof(uint64_t);
    if (bytes.size() - offset < field) return std::nullopt;
    std::memcpy(&length, bytes.data() + offset + sizeof(uint32_t), sizeof(length));
  } else if (narrow >= kReserved) {
    return std::nullopt;
  }
  if (length > bytes.size() - offset - field) return std::nullopt;
  return length + field;
}

}  // namespace

absl::StatusOr<DwarfSections> DwarfSections::Of(const ElfFile& elf) {
  if (elf.type() != ET_EXEC && elf.type() != ET_DYN) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "'%s' is not linked (ELF type %d, wanted 2 or 3): its source lines have no addresses yet. "
        "Give the vmlinux",
        elf.path(), elf.type()));
  }
  DwarfSections result;
  result.path_ = elf.path();
  absl::Status status;
  const auto contents = [&](std::string_view name) -> absl::Span<const uint8_t> {
    const ElfSection* section = elf.FindSection(name);
    if (section == nullptr) return {};
    if ((section->flags & SHF_COMPRESSED) != 0) {
      status.Update(absl::FailedPreconditionError(absl::StrCat(
          "'", elf.path(), "' has ", name, " compressed, which would have to be expanded whole for "
          "each address. Expand it once: objcopy --decompress-debug-sections VMLINUX")));
      return {};
    }
    return elf.Contents(*section);
  };
  result.info_ = contents(".debug_info");
  result.aranges_ = contents(".debug_aranges");
  for (std::string_view name : kShared) {
    const absl::Span<const uint8_t> bytes = contents(name);
    if (!bytes.empty()) result.shared_.push_back({std::string(name), bytes});
    if (name == ".debug_line") result.line_ = bytes;
  }
  const absl::Span<const uint8_t> ranges = contents(kRangeLists);
  if (!ranges.empty() && ranges.size() <= kMaxRangeListBytes) {
    result.shared_.push_back({std::string(kRangeLists), ranges});
  }
  if (!status.ok()) return status;
  if (result.info_.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "'", elf.path(), "' has no source lines (no .debug_info): give the vmlinux of a kernel "
        "built with CONFIG_DEBUG_INFO, as distributions ship in their debug packages"));
  }
  if (result.aranges_.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "'", elf.path(), "' has debug information without an index of it (.debug_aranges); gcc "
        "writes one, clang with -gdwarf-aranges"));
  }
  if (result.aranges_.size() > kMaxArangesBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("'%s': .debug_aranges has %d bytes, more than the %d that are read",
                        elf.path(), result.aranges_.size(), kMaxArangesBytes));
  }
  return result;
}

absl::StatusOr<DwarfUnit> DwarfSections::UnitAt(uint64_t offset) const {
  const std::optional<uint64_t> size = InitialLength(info_, offset);
  if (!size.has_value() || *size > kMaxUnitBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s': no unit of debug information at offset 0x%x of .debug_info (wanted one of at most "
        "%d bytes): the file is damaged",
        path_, offset, kMaxUnitBytes));
  }
  return DwarfUnit{.offset = offset, .size = *size};
}

std::optional<uint64_t> DwarfSections::LineTableSize(uint64_t offset) const {
  return InitialLength(line_, offset);
}

}  // namespace watchsnap
