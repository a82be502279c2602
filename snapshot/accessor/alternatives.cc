#include "snapshot/accessor/alternatives.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "debug/symbols/resemblance.h"

namespace watchsnap {
namespace {

constexpr size_t kMostListed = 20;
constexpr size_t kMostNear = 3;

}  // namespace

std::string Alternatives(std::string_view wanted, std::string_view listed,
                         const std::vector<std::string>& names) {
  if (names.empty()) return absl::StrCat(listed, ": none");
  std::vector<std::pair<size_t, std::string_view>> near;
  for (const std::string& name : names) {
    if (const auto score = Resemblance(wanted, name); score.has_value()) {
      near.emplace_back(*score, name);
    }
  }
  std::sort(near.begin(), near.end());
  std::string text;
  if (!near.empty()) {
    text = "did you mean ";
    for (size_t i = 0; i < near.size() && i < kMostNear; ++i) {
      absl::StrAppend(&text, i == 0 ? "'" : " or '", near[i].second, "'");
    }
    text += "? ";
  }
  const size_t shown = std::min(names.size(), kMostListed);
  absl::StrAppend(&text, listed, ": ", absl::StrJoin(names.begin(), names.begin() + shown, ", "));
  if (shown < names.size()) absl::StrAppend(&text, " and ", names.size() - shown, " more");
  return text;
}

}  // namespace watchsnap
