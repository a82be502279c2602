// A view of an ELF symbol table and its strings, and the one search that the kernel's symbols need:
// names, byte for byte, in a single pass.
//
// There is no hash of .symtab in an ELF file, and building one over 231,738 symbols costs more than
// the scan it saves. The scan compares the first two bytes of each name with a bitmap of what is
// looked for, and only then the whole name; it looks names up through `st_name`, so that strings
// which the linker merged into the tails of longer ones are found like any other.
//
// Threads: immutable. Ownership: points into the ElfFile's bytes. Errors: none; an entry whose name
// lies outside the strings reads as an empty name, and matches nothing.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_SYMBOL_TABLE_H_
#define WATCHSNAP_DEBUG_SYMBOLS_SYMBOL_TABLE_H_

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace watchsnap {

class SymbolTable {
 public:
  SymbolTable() = default;
  // `symbols` holds whole Elf64_Sym records (a shorter tail is ignored), at any alignment.
  // `extended_sections` is the contents of SHT_SYMTAB_SHNDX, or empty.
  SymbolTable(absl::Span<const uint8_t> symbols, absl::Span<const uint8_t> strings,
              absl::Span<const uint8_t> extended_sections)
      : symbols_(symbols), strings_(strings), extended_sections_(extended_sections) {}

  size_t size() const { return symbols_.size() / sizeof(Elf64_Sym); }

  // `index` < size().
  Elf64_Sym At(size_t index) const {
    Elf64_Sym symbol;
    std::memcpy(&symbol, symbols_.data() + index * sizeof(Elf64_Sym), sizeof(symbol));
    return symbol;
  }

  // Empty where there is no such string, or it is not terminated.
  std::string_view Name(uint32_t st_name) const;

  // The section index of entry `index`, with SHN_XINDEX looked up. Reserved values of st_shndx
  // (SHN_ABS, SHN_COMMON…) come back as they are: they are told from real indices of a file with
  // more than 65,279 sections by `st_shndx` itself, which is what callers must look at first.
  uint32_t SectionIndex(size_t index) const;

  // For each of `names`, the indices of the entries with exactly that name, in table order. One
  // pass, whatever the number of names. An empty name matches nothing.
  std::vector<std::vector<size_t>> Find(absl::Span<const std::string_view> names) const;

 private:
  absl::Span<const uint8_t> symbols_;
  absl::Span<const uint8_t> strings_;
  absl::Span<const uint8_t> extended_sections_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_SYMBOL_TABLE_H_
