#include "debug/symbols/text_index.h"

#include <elf.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <tuple>

namespace watchsnap {
namespace {

// Functions may hold others (an assembly routine with sized labels inside): how far to look back
// for one that encloses the address. The 7.3 kernel needs 2.
constexpr int kMaxNesting = 16;

bool IsCode(const Elf64_Sym& symbol, absl::Span<const ElfSection> sections, uint32_t section) {
  if (symbol.st_size == 0 || symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS ||
      symbol.st_shndx == SHN_COMMON || section >= sections.size()) {
    return false;
  }
  const int type = ELF64_ST_TYPE(symbol.st_info);
  if (type == STT_FUNC || type == STT_GNU_IFUNC) return true;
  const uint64_t flags = sections[section].flags;
  return type == STT_NOTYPE && (flags & SHF_EXECINSTR) != 0 && (flags & SHF_WRITE) == 0;
}

// Lower is better.
int Rank(const Elf64_Sym& symbol) {
  const int label = ELF64_ST_TYPE(symbol.st_info) == STT_NOTYPE ? 4 : 0;
  switch (ELF64_ST_BIND(symbol.st_info)) {
    case STB_GLOBAL: return label;
    case STB_WEAK: return label + 1;
    default: return label + 2;
  }
}

}  // namespace

TextIndex::TextIndex(const SymbolTable& table, absl::Span<const ElfSection> sections)
    : table_(table) {
  struct Candidate {
    Range range;
    int rank;
  };
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < table.size(); ++i) {
    const Elf64_Sym symbol = table.At(i);
    if (!IsCode(symbol, sections, table.SectionIndex(i))) continue;
    if (table.Name(symbol.st_name).empty()) continue;
    const uint32_t size = static_cast<uint32_t>(
        std::min<uint64_t>(symbol.st_size, std::numeric_limits<uint32_t>::max()));
    candidates.push_back({{symbol.st_value, size, symbol.st_name}, Rank(symbol)});
  }
  std::sort(candidates.begin(), candidates.end(), [&table](const Candidate& a, const Candidate& b) {
    if (a.range.start != b.range.start) return a.range.start < b.range.start;
    if (a.rank != b.rank) return a.rank < b.rank;
    const std::string_view of_a = table.Name(a.range.name), of_b = table.Name(b.range.name);
    return std::make_tuple(of_a.size(), of_a) < std::make_tuple(of_b.size(), of_b);
  });
  for (const Candidate& candidate : candidates) {
    if (!ranges_.empty() && ranges_.back().start == candidate.range.start) {
      ranges_.back().size = std::max(ranges_.back().size, candidate.range.size);
    } else {
      ranges_.push_back(candidate.range);
    }
  }
  ranges_.shrink_to_fit();
}

std::optional<TextSymbol> TextIndex::Find(uint64_t address) const {
  auto it = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                             [](uint64_t a, const Range& range) { return a < range.start; });
  for (int i = 0; i < kMaxNesting && it != ranges_.begin(); ++i) {
    --it;
    const uint64_t offset = address - it->start;
    if (offset < it->size) return TextSymbol{table_.Name(it->name), it->start, offset, it->size};
  }
  return std::nullopt;
}

}  // namespace watchsnap
