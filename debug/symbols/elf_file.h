// An ELF64 little-endian file (a `vmlinux`), mapped read-only and looked at lazily.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<const ElfFile> elf, ElfFile::Open("vmlinux"));
//   const ElfSection* btf = elf->FindSection(".BTF");
//   absl::Span<const uint8_t> bytes = elf->Contents(*btf);
//
// The file is hostile until shown otherwise: `Open` checks every offset of the headers, sections
// and segments against the length of the file, once; after that nothing can read outside it.
// Only the header tables are read at `Open` (a few KB); the 400 MB of a debug kernel are touched
// where somebody asks for them. A file that is truncated *while* it is mapped raises SIGBUS, as
// with every mapping: do not rebuild a kernel under a running machine.
//
// Threads: immutable after `Open`; every method may be called from any thread.
// Ownership: everything returned points into the file and lives as long as the ElfFile.
// Source of the layout: System V ABI, chapter 4 (Object Files), and <elf.h>.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_ELF_FILE_H_
#define WATCHSNAP_DEBUG_SYMBOLS_ELF_FILE_H_

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/symbols/symbol_table.h"

namespace watchsnap {

struct ElfSection {
  std::string_view name = {};
  uint32_t type = 0;       // SHT_…
  uint64_t flags = 0;      // SHF_…
  uint64_t address = 0;    // link-time KVA; 0 where the section is not loaded
  uint64_t offset = 0;     // in the file
  uint64_t size = 0;       // bytes; a NOBITS section has them in memory only
  uint32_t link = 0;
  uint32_t info = 0;
  uint64_t entry_size = 0;
  uint64_t alignment = 0;
};

struct ElfSegment {
  uint32_t type = 0;   // PT_…
  uint32_t flags = 0;  // PF_…
  uint64_t offset = 0;
  uint64_t virtual_address = 0;
  uint64_t physical_address = 0;
  uint64_t file_size = 0;
  uint64_t memory_size = 0;
};

class ElfFile {
 public:
  // Errors: NotFound/PermissionDenied… from the system, InvalidArgument for what is not an ELF64
  // little-endian file or is damaged. The message names the path.
  static absl::StatusOr<std::unique_ptr<const ElfFile>> Open(const std::string& path);
  // The same over bytes in memory; `name` stands in for the path in messages.
  static absl::StatusOr<std::unique_ptr<const ElfFile>> FromBytes(std::string name,
                                                                  std::vector<uint8_t> bytes);
  ~ElfFile();
  ElfFile(const ElfFile&) = delete;
  ElfFile& operator=(const ElfFile&) = delete;

  const std::string& path() const { return path_; }
  absl::Span<const uint8_t> bytes() const { return bytes_; }
  uint16_t type() const { return type_; }        // ET_…
  uint16_t machine() const { return machine_; }  // EM_…
  uint64_t entry() const { return entry_; }

  absl::Span<const ElfSection> sections() const { return sections_; }
  absl::Span<const ElfSegment> segments() const { return segments_; }
  // Null when there is none of that name; the first when there are several.
  const ElfSection* FindSection(std::string_view name) const;
  // The section's bytes in the file; empty for SHT_NOBITS and SHT_NULL.
  absl::Span<const uint8_t> Contents(const ElfSection& section) const;

  // The table of .symtab; FailedPrecondition with what to do where the file was stripped of it.
  absl::StatusOr<SymbolTable> Symtab() const;

  // Copies `out.size()` bytes that the file has at link-time address `kva` (PT_LOAD; the part of a
  // segment that is not in the file is zeros). OutOfRange where no single segment holds them all.
  absl::Status ReadAtKva(uint64_t kva, absl::Span<uint8_t> out) const;

  // The bytes of the GNU build ID; nullopt where the file has none.
  std::optional<std::string> GnuBuildId() const;

 private:
  ElfFile() = default;
  absl::Status Parse();
  absl::Status ParseSections(uint64_t table, uint64_t count, uint64_t name_index);
  absl::Status ParseSegments(uint64_t table, uint64_t count);

  std::string path_;
  std::vector<uint8_t> owned_;      // of FromBytes
  void* mapping_ = nullptr;         // of Open
  absl::Span<const uint8_t> bytes_;
  uint16_t type_ = 0;
  uint16_t machine_ = 0;
  uint64_t entry_ = 0;
  std::vector<ElfSection> sections_;
  std::vector<ElfSegment> segments_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_ELF_FILE_H_
