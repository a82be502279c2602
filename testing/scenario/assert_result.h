// What a scenario found: passed or not, and the details in words.
//
// A value; no threads, no errors of its own.
#ifndef WATCHSNAP_TESTING_SCENARIO_ASSERT_RESULT_H_
#define WATCHSNAP_TESTING_SCENARIO_ASSERT_RESULT_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace watchsnap {

struct AssertDetail {
  std::string message;  // holds the reason first, then where
  // Index of the step and of its op, where one is concerned.
  std::optional<int> step = std::nullopt;
  std::optional<int> op = std::nullopt;
};

struct AssertResult {
  bool passed = true;
  std::vector<AssertDetail> details;

  static AssertResult Pass() { return {}; }
  static AssertResult Fail(std::string message) {
    AssertResult result;
    result.AddFailure(std::move(message));
    return result;
  }

  void AddFailure(std::string message) {
    passed = false;
    details.push_back({.message = std::move(message)});
  }
  // Something to know that is not a failure.
  void AddNote(std::string message) { details.push_back({.message = std::move(message)}); }

  // Passed only if both did.
  void Merge(AssertResult other) {
    passed = passed && other.passed;
    for (AssertDetail& detail : other.details) details.push_back(std::move(detail));
  }
};

// Turns an expected failure into a pass: passes if `result` failed with exactly one detail that
// contains `wanted`, else fails and says what came instead.
AssertResult ExpectFailure(const AssertResult& result, std::string_view wanted);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_ASSERT_RESULT_H_
