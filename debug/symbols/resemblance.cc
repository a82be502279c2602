#include "debug/symbols/resemblance.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/match.h"

namespace watchsnap {
namespace {

// Longer names than this are not compared: no kernel symbol is (KSYM_NAME_LEN is 512, and the
// longest of 7.3's data is under 80), and a guest may ask for anything.
constexpr size_t kMaxName = 128;

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

std::optional<size_t> Resemblance(std::string_view wanted, std::string_view name) {
  if (wanted.empty() || wanted.size() > kMaxName) return std::nullopt;
  const size_t limit = std::clamp<size_t>(wanted.size() / 4, 1, 3);
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
  return std::nullopt;
}

}  // namespace watchsnap
