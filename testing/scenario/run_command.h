// Runs a program and waits for it, for Op::Run.
//
// Its output goes where this process's goes. Threads: forks; the process should be single-threaded.
// Errors: NOT_FOUND and such from exec; ABORTED with "exited with 3" or "killed by signal 11
// (Segmentation fault)"; DEADLINE_EXCEEDED past `timeout`, the program having been killed.
#ifndef WATCHSNAP_TESTING_SCENARIO_RUN_COMMAND_H_
#define WATCHSNAP_TESTING_SCENARIO_RUN_COMMAND_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace watchsnap {

absl::Status RunCommand(const std::vector<std::string>& argv, absl::Duration timeout);

// The wait status of a child, waited for until `deadline`; past it the child is killed and reaped,
// and the status is DEADLINE_EXCEEDED.
absl::StatusOr<int> WaitForChild(pid_t child, absl::Time deadline);

// "exited with 3", "killed by signal 11 (Segmentation fault)".
std::string DescribeWaitStatus(int wait_status);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_RUN_COMMAND_H_
