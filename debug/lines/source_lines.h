// Source lines of a kernel: for an address of its text, the file and line, and the chain of
// functions that were inlined there, as `addr2line -f -i -e vmlinux ADDRESS` shows them.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<SourceLines> lines, SourceLines::Open("vmlinux"));
//   ASSIGN_OR_RETURN(std::vector<SourceFrame> frames, lines->Find(pc - slide));
//   // frames[0] is the innermost: "timekeeping_advance", kernel/time/timekeeping.c:2290;
//   // frames.back() the function that the symbol table has there.
//
// Addresses are *link-time*: subtract the KASLR slide. For a return address ask for `address - 1`:
// a call may be the last instruction of its line.
//
// Cheap to open (the ELF headers); the index of the units is read at the first `Find`, and then
// single compilation units, found through `.debug_aranges`. The 240 MB of `.debug_info` are never
// read, nor even walked over. Decoded units are kept, the least recently used dropped once they
// take more than `SourceLinesOptions::cache_bytes`; pages of the file are given back as it goes.
//
// Threads: every method from any thread; one mutex, held while a unit is decoded (about 2 ms, the
// largest unit of a stock kernel 80 ms). libdwarf is never entered by two threads for one object.
// Meant for rendering, not for a stopped machine's critical path.
// Errors of Find: NotFound where `.debug_aranges` has no unit for the address, or the unit says
// nothing about it; InvalidArgument for damaged debug information, which stays so on each call.
#ifndef WATCHSNAP_DEBUG_LINES_SOURCE_LINES_H_
#define WATCHSNAP_DEBUG_LINES_SOURCE_LINES_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "debug/lines/dwarf_sections.h"
#include "debug/lines/source_frame.h"
#include "debug/lines/unit_index.h"
#include "debug/lines/unit_lines.h"
#include "debug/symbols/elf_file.h"

namespace watchsnap {

struct SourceLinesOptions {
  size_t cache_bytes = size_t{16} << 20;  // of decoded units; the latest is kept in any case
};

struct SourceLinesStats {
  size_t units_indexed = 0;
  size_t units_decoded = 0;  // since the start; one twice if it was dropped between
  size_t units_cached = 0;
  size_t bytes_cached = 0;
};

class SourceLines {
 public:
  // FailedPrecondition where the file has no source lines, or none that can be looked up, with
  // what to do; errors of the file as ElfFile::Open.
  static absl::StatusOr<std::unique_ptr<SourceLines>> Open(const std::string& vmlinux_path,
                                                           const SourceLinesOptions& options = {});
  // For a file in memory.
  static absl::StatusOr<std::unique_ptr<SourceLines>> FromElf(
      std::unique_ptr<const ElfFile> elf, const SourceLinesOptions& options = {});
  SourceLines(const SourceLines&) = delete;
  SourceLines& operator=(const SourceLines&) = delete;

  // Innermost first, never empty when OK. `line` is 0 where only the function is known.
  absl::StatusOr<std::vector<SourceFrame>> Find(uint64_t address) ABSL_LOCKS_EXCLUDED(mutex_);

  SourceLinesStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    uint64_t unit = 0;
    size_t bytes = 0;
    absl::StatusOr<UnitLines> lines;
  };

  SourceLines(std::unique_ptr<const ElfFile> elf, DwarfSections sections,
              const SourceLinesOptions& options);
  const Entry& UnitAt(uint64_t offset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReleasePages() const;

  const std::unique_ptr<const ElfFile> elf_;
  const DwarfSections sections_;
  const SourceLinesOptions options_;
  bool mapped_ = false;  // `elf_` is a file that is mapped; set by Open

  mutable absl::Mutex mutex_;
  std::optional<absl::StatusOr<UnitIndex>> index_ ABSL_GUARDED_BY(mutex_);  // from the first Find
  std::list<Entry> cache_ ABSL_GUARDED_BY(mutex_);                // most recently used first
  std::unordered_map<uint64_t, std::list<Entry>::iterator> by_unit_ ABSL_GUARDED_BY(mutex_);
  size_t cached_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t decoded_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_SOURCE_LINES_H_
