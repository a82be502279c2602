// Names of the parameters that the host side of a scenario program gives its guest side in
// HELLO_REPLY.
#ifndef WATCHSNAP_TESTING_GUEST_GUEST_PARAMETERS_H_
#define WATCHSNAP_TESTING_GUEST_GUEST_PARAMETERS_H_

namespace watchsnap::guest_parameter {

inline constexpr char kScenario[] = "scenario";     // its name
inline constexpr char kHoldMs[] = "hold_ms";        // what HoldSpec::Full() means
inline constexpr char kTimeoutMs[] = "timeout_ms";  // after which the scenario is killed
inline constexpr char kScheduler[] = "scheduler";   // name of the one to start before the steps
// A text that a scheduler error has to contain; absent: none is expected.
inline constexpr char kExpectSchedulerError[] = "expect_scheduler_error";

}  // namespace watchsnap::guest_parameter

#endif  // WATCHSNAP_TESTING_GUEST_GUEST_PARAMETERS_H_
