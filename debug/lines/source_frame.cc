#include "debug/lines/source_frame.h"

#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace watchsnap {

std::string SourceFrame::KernelPath() const {
  const std::string_view path =
      std::string_view(file).substr(build_prefix < file.size() ? build_prefix : 0);
  std::vector<std::string_view> parts;
  for (std::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty()) {
      parts.pop_back();
    }  // else it leads out of the build's directory, to the source beside it
  }
  return absl::StrCat(absl::StartsWith(path, "/") ? "/" : "", absl::StrJoin(parts, "/"));
}

}  // namespace watchsnap
