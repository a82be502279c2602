#include "debug/symbols/kernel_identity.h"

#include <optional>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/symbols/elf_notes.h"

namespace watchsnap {
namespace {

// The kernel's notes are 496 bytes in 7.3; more than this is a damaged file, not notes.
constexpr uint64_t kMaxNotes = 64 * 1024;

struct NotesRange {
  uint64_t address = 0;
  uint64_t size = 0;
};

// By the symbols, or where a kernel has them under no name, by the section.
absl::StatusOr<NotesRange> FindNotes(const KernelSymbols& kernel) {
  const absl::StatusOr<uint64_t> start = kernel.AddressOf("__start_notes");
  const absl::StatusOr<uint64_t> stop = kernel.AddressOf("__stop_notes");
  NotesRange range;
  if (start.ok() && stop.ok() && *stop > *start) {
    range = {*start, *stop - *start};
  } else if (const ElfSection* notes = kernel.elf().FindSection(".notes"); notes != nullptr) {
    range = {notes->address, notes->size};
  }
  if (range.address == 0 || range.size == 0 || range.size > kMaxNotes) {
    return absl::FailedPreconditionError(absl::StrCat(
        "'", kernel.path(), "' does not say where the kernel keeps its notes (__start_notes, "
        "__stop_notes), so that its build cannot be compared with the running kernel's"));
  }
  return range;
}

}  // namespace

absl::Status VerifyBuildId(const KernelSymbols& kernel, uint64_t slide, KvaReader reader) {
  if (kernel.build_id().empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "'", kernel.path(), "' has no GNU build ID, so that it cannot be compared with the running "
        "kernel's. Link the kernel with --build-id=sha1, its own default"));
  }
  absl::StatusOr<NotesRange> range = FindNotes(kernel);
  if (!range.ok()) return range.status();
  std::vector<uint8_t> notes(range->size);
  if (absl::Status read = reader(range->address + slide, absl::MakeSpan(notes)); !read.ok()) {
    return absl::Status(
        read.code(),
        absl::StrFormat("cannot read the running kernel's notes at 0x%x (slide 0x%x) to compare "
                        "its build ID: %s",
                        range->address + slide, slide, read.message()));
  }
  const std::string expected = absl::BytesToHexString(kernel.build_id());
  const std::optional<std::string> running = FindGnuBuildId(notes);
  if (!running.has_value()) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the running kernel is not the one of '%s' (build ID %s): at 0x%x, where that build has "
        "its notes, there is no build ID. Give the vmlinux of the kernel that is booted",
        kernel.path(), expected, range->address + slide));
  }
  if (*running != kernel.build_id()) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the running kernel is of another build than '%s': the running kernel's build ID is %s, "
        "the file's is %s. Give the vmlinux of the kernel that is booted",
        kernel.path(), absl::BytesToHexString(*running), expected));
  }
  return absl::OkStatus();
}

}  // namespace watchsnap
