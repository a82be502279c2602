// The guest's side of a scenario program: what it does as the first process of a guest.
//
// Mounts the file systems, meets the host over the control port, runs the scenario that the host
// names in a process of its own, sends its result, powers the machine off. Every wait is bounded,
// and the console says what happened.
//
// Threads: the process is PID 1 and single-threaded.
#ifndef WATCHSNAP_TESTING_GUEST_GUEST_MAIN_H_
#define WATCHSNAP_TESTING_GUEST_GUEST_MAIN_H_

namespace watchsnap {

// The host puts NAME=1 on the kernel's command line; the kernel hands it to the first process as
// its environment.
inline constexpr char kGuestMarker[] = "WATCHSNAP_GUEST";

// True in the first process of a guest that the host side of this program started.
bool IsScenarioGuest();

[[noreturn]] void GuestMain();

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_GUEST_GUEST_MAIN_H_
