// What a finished run means: the ways a scenario can fail, told apart, in words for a person.
//
// Threads: any. Errors: none of its own.
#ifndef WATCHSNAP_TESTING_SCENARIO_VERDICT_H_
#define WATCHSNAP_TESTING_SCENARIO_VERDICT_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "snapshot/vm_session.h"
#include "testing/scenario/registry.h"

namespace watchsnap {

enum class Verdict {
  kPassed,
  kHarnessFailure,   // the run could not be had: host, files, the machine itself
  kBootFailure,      // the guest never said HELLO
  kGuestFailure,     // it did, and ended without the scenario's result
  kScenarioFailure,  // the scenario said that it failed
};

std::string_view VerdictName(Verdict verdict);  // "HARNESS FAILURE", …

struct ScenarioRun {
  Verdict verdict = Verdict::kHarnessFailure;
  std::string message;             // several lines
  std::optional<VmResult> result;  // absent after a harness failure
};

// What a finished session means. `console_log` is for the message.
ScenarioRun Judge(const RegisteredScenario& scenario, absl::StatusOr<VmResult> result,
                  const std::string& console_log);

// "power-off", "guest panic: init died".
std::string Ending(const RunEnd& end);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_VERDICT_H_
