#include "snapshot/watch_condition.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace watchsnap {
namespace {

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  // Nothing but digits: no sign, no space.
  if (text.empty() || !absl::ascii_isxdigit(text.front()) || !absl::ascii_isxdigit(text.back())) {
    return std::nullopt;
  }
  if (!(hex ? absl::SimpleHexAtoi(text, &value) : absl::SimpleAtoi(text, &value))) {
    return std::nullopt;
  }
  return value;
}

absl::Status Wrong(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "the condition '", text, "' ", why,
      "; wanted is always, changed, ==VALUE, &MASK==VALUE or LEAST..MOST, with numbers from 0 on, decimal "
      "or 0x…"));
}

}  // namespace

absl::Status CheckWatchCondition(const WatchCondition& condition) {
  if (condition.kind == WatchCondition::Kind::kMasked &&
      (condition.second & ~condition.first) != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the condition '%s' can never hold: %#x has bits that are not in the mask %#x",
                        WatchConditionText(condition), condition.second, condition.first));
  }
  if (condition.kind == WatchCondition::Kind::kRange && condition.first > condition.second) {
    return absl::InvalidArgumentError(
        absl::StrCat("the condition '", WatchConditionText(condition),
                     "' can never hold: its first number is the larger one"));
  }
  return absl::OkStatus();
}

absl::StatusOr<WatchCondition> ParseWatchCondition(std::string_view text) {
  if (text == "always") return WatchCondition::Always();
  if (text == "changed") return WatchCondition::Changed();
  WatchCondition condition;
  if (std::string_view rest = text; absl::ConsumePrefix(&rest, "==")) {
    const std::optional<uint64_t> value = Number(rest);
    if (!value.has_value()) return Wrong(text, "has no number after ==");
    condition = WatchCondition::Equal(*value);
  } else if (absl::ConsumePrefix(&rest, "&")) {
    const size_t equal = rest.find("==");
    if (equal == std::string_view::npos) return Wrong(text, "has a mask and no ==");
    const std::optional<uint64_t> mask = Number(rest.substr(0, equal));
    const std::optional<uint64_t> value = Number(rest.substr(equal + 2));
    if (!mask.has_value() || !value.has_value()) return Wrong(text, "is not two numbers");
    condition = WatchCondition::Masked(*mask, *value);
  } else if (const size_t dots = text.find(".."); dots != std::string_view::npos) {
    const std::optional<uint64_t> least = Number(text.substr(0, dots));
    const std::optional<uint64_t> most = Number(text.substr(dots + 2));
    if (!least.has_value() || !most.has_value()) return Wrong(text, "is not two numbers");
    condition = WatchCondition::Range(*least, *most);
  } else {
    return Wrong(text, "is none");
  }
  absl::Status status = CheckWatchCondition(condition);
  if (!status.ok()) return status;
  return condition;
}

std::string WatchConditionText(const WatchCondition& condition) {
  switch (condition.kind) {
    case WatchCondition::Kind::kAlways: return "always";
    case WatchCondition::Kind::kChanged: return "changed";
    case WatchCondition::Kind::kEqual: return absl::StrCat("==", condition.first);
    case WatchCondition::Kind::kMasked:
      return absl::StrFormat("&%#x==%#x", condition.first, condition.second);
    case WatchCondition::Kind::kRange:
      return absl::StrCat(condition.first, "..", condition.second);
  }
  return "unknown";
}

}  // namespace watchsnap
