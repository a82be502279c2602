// Runs one scenario and tells the host its result.
//
// RunScenarioProcess forks: the scenario may crash, hang or exit, and the first process lives on to
// say so. Threads: one. Errors: none go unsaid: what cannot be sent stands on the console.
#ifndef WATCHSNAP_TESTING_GUEST_SCENARIO_PROCESS_H_
#define WATCHSNAP_TESTING_GUEST_SCENARIO_PROCESS_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "snapshot/wire/messages.h"
#include "testing/scenario/context.h"
#include "testing/scenario/registry.h"

namespace watchsnap {

// Runs `scenario` in this process and renders what came of it: its AssertResult, its error, gtest
// checks that failed.
ScenarioResult RunScenario(const RegisteredScenario& scenario, ScenarioContext& ctx);

// Runs it in a child that sends its result itself over ctx's channel. If the child ends without
// having done so (a crash, a signal, `timeout`), sends a failed result that says how it ended.
void RunScenarioProcess(const RegisteredScenario& scenario, ScenarioContext& ctx,
                        absl::Duration timeout);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_GUEST_SCENARIO_PROCESS_H_
