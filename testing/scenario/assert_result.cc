#include "testing/scenario/assert_result.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace watchsnap {

AssertResult ExpectFailure(const AssertResult& result, std::string_view wanted) {
  if (!result.passed && result.details.size() == 1 &&
      absl::StrContains(result.details[0].message, wanted)) {
    AssertResult pass;
    pass.AddNote(absl::StrCat("failed as expected: ", result.details[0].message));
    return pass;
  }
  return AssertResult::Fail(absl::StrCat(
      "expected one failure with '", wanted, "', got ", result.passed ? "a pass" : "a failure",
      " with ", result.details.size(), " details: ",
      absl::StrJoin(result.details, " | ", [](std::string* out, const AssertDetail& detail) {
        absl::StrAppend(out, detail.message);
      })));
}

}  // namespace watchsnap
