#include "testing/scenario/verdict.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace watchsnap {
namespace {

constexpr size_t kConsoleLinesShown = 25;

std::string LastLines(std::string_view text, size_t count) {
  std::vector<std::string_view> lines =
      absl::StrSplit(absl::StripTrailingAsciiWhitespace(text), '\n');
  if (lines.size() > count) lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(count));
  std::string shown;
  for (std::string_view line : lines) {
    absl::StrAppend(&shown, "    | ", absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return shown;
}

std::string ConsolePart(const VmResult& result, const std::string& console_log) {
  if (result.console.empty()) return "  The guest's console is empty.\n";
  return absl::StrCat("  The end of the guest's console (all of it: ", console_log, "):\n",
                      LastLines(result.console, kConsoleLinesShown));
}

}  // namespace

std::string Ending(const RunEnd& end) {
  return absl::StrCat(RunEndKindName(end.kind), end.detail.empty() ? "" : ": ", end.detail);
}

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPassed:
      return "PASSED";
    case Verdict::kHarnessFailure:
      return "HARNESS FAILURE";
    case Verdict::kBootFailure:
      return "BOOT FAILURE";
    case Verdict::kGuestFailure:
      return "GUEST FAILURE";
    case Verdict::kScenarioFailure:
      return "SCENARIO FAILURE";
  }
  return "?";
}

ScenarioRun Judge(const RegisteredScenario& scenario, absl::StatusOr<VmResult> result,
                  const std::string& console_log) {
  ScenarioRun run;
  if (!result.ok()) {
    run.verdict = Verdict::kHarnessFailure;
    run.message =
        absl::StrCat("the guest of ", scenario.name,
                     " could not be run (not the scenario's fault): ", result.status().ToString());
    return run;
  }
  run.result = *std::move(result);
  const VmResult& vm = *run.result;
  if (scenario.expected_end.has_value()) {
    if (!vm.scenario.has_value() && vm.end.kind == *scenario.expected_end) {
      run.verdict = Verdict::kPassed;
      return run;
    }
    run.verdict = vm.scenario.has_value() ? Verdict::kScenarioFailure : Verdict::kGuestFailure;
    run.message = absl::StrCat(
        scenario.name, " was to bring the guest down by ", RunEndKindName(*scenario.expected_end),
        vm.scenario.has_value() ? "; it returned instead" : "; it ended by ",
        vm.scenario.has_value() ? "" : Ending(vm.end), "\n", ConsolePart(vm, console_log));
    return run;
  }
  if (vm.scenario.has_value()) {
    run.verdict = vm.scenario->passed ? Verdict::kPassed : Verdict::kScenarioFailure;
    if (!vm.scenario->passed) {
      run.message = absl::StrCat(scenario.name, " says, from the guest:\n");
      for (const std::string& detail : vm.scenario->details)
        absl::StrAppend(&run.message, "  ", detail, "\n");
      if (vm.scenario->details.empty()) absl::StrAppend(&run.message, "  (no details)\n");
      absl::StrAppend(&run.message, ConsolePart(vm, console_log));
    }
    return run;
  }
  if (vm.end.kind == RunEndKind::kInterrupted || vm.end.kind == RunEndKind::kInternalError) {
    run.verdict = Verdict::kHarnessFailure;
    run.message = absl::StrCat("the machine was stopped before ", scenario.name,
                               " had a result: ", Ending(vm.end), "\n");
  } else if (!vm.reached_hello) {
    run.verdict = Verdict::kBootFailure;
    run.message = absl::StrCat("the guest did not come up to its first process; it ended by ",
                               Ending(vm.end), "\n");
  } else {
    run.verdict = Verdict::kGuestFailure;
    run.message = absl::StrCat("the guest ended before ", scenario.name, " had a result, by ",
                               Ending(vm.end), "\n");
  }
  absl::StrAppend(&run.message, ConsolePart(vm, console_log));
  return run;
}

}  // namespace watchsnap
