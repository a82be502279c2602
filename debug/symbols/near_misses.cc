#include "debug/symbols/near_misses.h"

#include <elf.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "debug/symbols/resemblance.h"

namespace watchsnap {

std::vector<std::string> FindNearMisses(const SymbolTable& table, std::string_view name,
                                        size_t count) {
  if (name.empty() || count == 0) return {};
  std::vector<std::pair<size_t, std::string_view>> matches;
  for (size_t i = 0; i < table.size(); ++i) {
    const Elf64_Sym symbol = table.At(i);
    if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || symbol.st_shndx == SHN_UNDEF) continue;
    const std::string_view candidate = table.Name(symbol.st_name);
    if (candidate.empty() || candidate == name) continue;
    const std::optional<size_t> score = Resemblance(name, candidate);
    if (score.has_value()) matches.emplace_back(*score, candidate);
  }
  std::sort(matches.begin(), matches.end());
  matches.erase(std::unique(matches.begin(), matches.end()), matches.end());
  std::vector<std::string> names;
  for (size_t i = 0; i < matches.size() && names.size() < count; ++i) {
    names.emplace_back(matches[i].second);
  }
  return names;
}

}  // namespace watchsnap
