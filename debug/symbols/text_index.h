// Which function holds an address: a sorted index of the functions in a symbol table.
//
// What counts as a function: STT_FUNC, and sized untyped labels in sections that are executable and
// not writable (assembly entry points are typed NOTYPE in 7.3; `.data` is flagged executable
// there and is no code). Names at one address: a function before a label, global before weak before
// local, then the shorter, then the alphabetically first, so that reports read the same each time.
//
// Memory: 16 bytes a function; a kernel has a hundred thousand. Functions of 4 GiB and more are cut short.
// Threads: immutable once built. Ownership: names point into the ElfFile, of which the table is a part.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_TEXT_INDEX_H_
#define WATCHSNAP_DEBUG_SYMBOLS_TEXT_INDEX_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "debug/symbols/elf_file.h"
#include "debug/symbols/symbol_table.h"

namespace watchsnap {

struct TextSymbol {
  std::string_view name;
  uint64_t address = 0;  // of the function's start, link-time KVA
  uint64_t offset = 0;   // of the address asked for, from that start
  uint64_t size = 0;
};

class TextIndex {
 public:
  TextIndex() = default;
  TextIndex(const SymbolTable& table, absl::Span<const ElfSection> sections);

  // Nullopt where no function holds it: a gap, data, or an address outside the kernel.
  std::optional<TextSymbol> Find(uint64_t address) const;

 private:
  struct Range {
    uint64_t start;
    uint32_t size;
    uint32_t name;  // in the table's strings
  };
  SymbolTable table_;
  std::vector<Range> ranges_;  // by start; one a start
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_TEXT_INDEX_H_
