#include "debug/symbols/near_misses.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"

namespace watchsnap {
namespace {

// Longer names than this are not compared: no kernel symbol is (KSYM_NAME_LEN is 512, and the
// longest of 7.3's data is under 80), and a guest may ask for anything.
constexpr size_t kMaxName = 128;
constexpr size_t kNoMatch = ~size_t{0};

// Lower is better; kNoMatch for what does not resemble.
size_t Score(std::string_view wanted, std::string_view name, size_t limit) {
  const size_t distance = EditDistance(wanted, name, limit);
  if (distance <= limit) return distance * 4;
  if (absl::EqualsIgnoreCase(wanted, name)) return 2;
  // One inside the other: "jiffies64" does not reach this, "watchdog_timestamp" does.
  const std::string_view shorter = wanted.size() < name.size() ? wanted : name;
  const std::string_view longer = wanted.size() < name.size() ? name : wanted;
  if (shorter.size() >= 4 && shorter.size() * 4 >= longer.size() &&
      absl::StrContains(longer, shorter)) {
    return limit * 4 + 8 + (longer.size() - shorter.size());
  }
  return kNoMatch;
}

}  // namespace

size_t EditDistance(std::string_view a, std::string_view b, size_t limit) {
  if (a.size() < b.size()) std::swap(a, b);
  if (a.size() - b.size() > limit || a.size() > kMaxName) return limit + 1;
  // Three rows of the usual table: the one being filled, the last, and the one before for swaps.
  std::array<std::array<size_t, kMaxName + 1>, 3> rows;
  for (size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& last = rows[(i + 2) % 3];
    const auto& before_last = rows[(i + 1) % 3];
    row[0] = i;
    size_t best = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substituted});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
      best = std::min(best, row[j]);
    }
    if (best > limit) return limit + 1;
  }
  return std::min(rows[a.size() % 3][b.size()], limit + 1);
}

std::vector<std::string> FindNearMisses(const SymbolTable& table, std::string_view name,
                                        size_t count) {
  if (name.empty() || name.size() > kMaxName || count == 0) return {};
  const size_t limit = std::clamp<size_t>(name.size() / 4, 1, 3);
  std::vector<std::pair<size_t, std::string_view>> matches;
  for (size_t i = 0; i < table.size(); ++i) {
    const Elf64_Sym symbol = table.At(i);
    if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || symbol.st_shndx == SHN_UNDEF) continue;
    const std::string_view candidate = table.Name(symbol.st_name);
    if (candidate.empty() || candidate == name) continue;
    const size_t score = Score(name, candidate, limit);
    if (score != kNoMatch) matches.emplace_back(score, candidate);
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
