// Runs the steps of a scenario.
//
//   absl::StatusOr<AssertResult> result = ExecuteSteps(ctx, {Step{…}, Step{…}});
//
// An op that fails bails its step at once: one AssertDetail holds the reason and the op, the step's
// remaining ops do not run and it is not held, later steps do not run, and `passed` is false.
// Watches that were armed stay armed, and a later call may register again, up to the cap.
//
// Where ops go: to the SnapshotBridge that is active on this thread, if there is one (host-side
// unit tests; cgroups and commands are then recorded in the context and not created, functions and
// holds are run); else over the context's channel to the host.
//
// Threads: one; forks (workers, commands), so the process should have no other threads that hold
// locks. Errors: a Status only where steps could not be run at all: neither bridge nor channel, no
// cgroup file system.
#ifndef WATCHSNAP_TESTING_SCENARIO_EXECUTE_STEPS_H_
#define WATCHSNAP_TESTING_SCENARIO_EXECUTE_STEPS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "testing/scenario/assert_result.h"
#include "testing/scenario/context.h"
#include "testing/scenario/step.h"

namespace watchsnap {

absl::StatusOr<AssertResult> ExecuteSteps(ScenarioContext& ctx, const std::vector<Step>& steps);
absl::StatusOr<AssertResult> ExecuteSteps(ScenarioContext& ctx, const Backdrop& backdrop,
                                          const std::vector<Step>& steps);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_EXECUTE_STEPS_H_
