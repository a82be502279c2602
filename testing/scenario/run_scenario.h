// Runs one scenario in a guest.
//
// Threads: blocks its caller. SIGINT, SIGTERM and SIGHUP should be blocked and readable from
// `interrupt_fd`: the run then ends early and whole. Errors: none of its own; `verdict` and
// `message` say what went wrong, for a person.
#ifndef WATCHSNAP_TESTING_SCENARIO_RUN_SCENARIO_H_
#define WATCHSNAP_TESTING_SCENARIO_RUN_SCENARIO_H_

#include <string>

#include "testing/scenario/host_options.h"
#include "testing/scenario/registry.h"
#include "testing/scenario/verdict.h"

namespace watchsnap {

struct ScenarioRunFiles {
  std::string outputs_folder;  // sidecars
  std::string console_log;     // path of the file the guest's console is written to
};

ScenarioRun RunScenarioInGuest(const RegisteredScenario& scenario, const HostOptions& options,
                               const ScenarioRunFiles& files, int interrupt_fd);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_RUN_SCENARIO_H_
