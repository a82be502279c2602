#include "snapshot/accessor/path.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

constexpr std::string_view kSpecial = ".[]\"'";

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<Path> Parse() {
    while (at_ < text_.size()) {
      if (absl::Status status = Step(); !status.ok()) return status;
    }
    return std::move(path_);
  }

 private:
  absl::Status Wrong(std::string_view wanted) const {
    return absl::InvalidArgumentError(
        absl::StrCat("the path '", text_, "': at its byte ", at_, " ", wanted,
                     "; a path is names, [number] and [\"name\"], as in "
                     "captures[3].maps[\"mini.bss\"].value.nr_enqueued"));
  }

  absl::Status Step() {
    if (text_[at_] == '[') return Bracket();
    if (text_[at_] == '.') {
      if (at_ == 0) return Wrong("a name was expected before the dot");
      ++at_;
    } else if (at_ != 0) {
      return Wrong("a dot or a bracket was expected");
    }
    const size_t end = std::min(text_.find_first_of(kSpecial, at_), text_.size());
    if (end == at_) return Wrong("a name was expected");
    path_.emplace_back(std::string(text_.substr(at_, end - at_)));
    at_ = end;
    return absl::OkStatus();
  }

  absl::Status Bracket() {
    ++at_;
    const char first = at_ < text_.size() ? text_[at_] : '\0';
    if (first == '"' || first == '\'') {
      std::optional<std::string> name = Quoted(first);
      if (!name.has_value()) return Wrong("the quote is not closed");
      path_.emplace_back(*std::move(name));
    } else {
      uint64_t index = 0;
      const char* const begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), index);
      if (error != std::errc()) return Wrong("a number or a quoted name was expected");
      at_ += static_cast<size_t>(end - begin);
      path_.emplace_back(index);
    }
    if (at_ >= text_.size() || text_[at_] != ']') return Wrong("a ']' was expected");
    ++at_;
    return absl::OkStatus();
  }

  std::optional<std::string> Quoted(char quote) {
    std::string name;
    for (++at_; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == quote) {
        ++at_;
        return name;
      }
      if (c == '\\' && at_ + 1 < text_.size()) c = text_[++at_];
      name += c;
    }
    return std::nullopt;
  }

  const std::string_view text_;
  size_t at_ = 0;
  Path path_;
};

}  // namespace

absl::StatusOr<Path> ParsePath(std::string_view text) { return Parser(text).Parse(); }

std::string MemberPath(std::string_view path, std::string_view name) {
  if (!name.empty() && name.find_first_of(kSpecial) == std::string_view::npos) {
    return absl::StrCat(path, path.empty() ? "" : ".", name);
  }
  std::string result = absl::StrCat(path, "[\"");
  for (const char c : name) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return absl::StrCat(result, "\"]");
}

std::string ElementPath(std::string_view path, uint64_t index) {
  return absl::StrCat(path, "[", index, "]");
}

}  // namespace watchsnap
