// Where scenarios run: on this host's own /dev/kvm if it delivers watchpoints, else in the emulated
// KVM host.
//
// Threads: main's, before others are started. Errors: FAILED_PRECONDITION with why neither will do.
#ifndef WATCHSNAP_TESTING_SCENARIO_WHERE_IT_RUNS_H_
#define WATCHSNAP_TESTING_SCENARIO_WHERE_IT_RUNS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "testing/scenario/host_options.h"

namespace watchsnap {

struct Place {
  bool here = true;
  std::string reason;  // for people
};

// Chooses, without starting anything.
absl::StatusOr<Place> ChoosePlace(HostChoice choice);

// Runs this program again in the emulated host, with `arguments` after argv[0]; returns its exit
// code.
absl::StatusOr<int> RunAgainInEmulatedHost(const std::vector<std::string>& arguments,
                                           const std::string& outputs_folder);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_WHERE_IT_RUNS_H_
