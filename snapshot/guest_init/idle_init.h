// What a guest does when nobody brought an /init: a minimal first process that keeps the system
// lightly alive.
//
// It mounts the standard file systems, reaps children, and every few milliseconds does a little of
// what makes a kernel write to its variables: wakes up, makes a process now and then. SIGTERM,
// SIGINT and SIGPWR power the machine off.
//
// Threads: the process is PID 1 and single-threaded. Does not return.
#ifndef WATCHSNAP_SNAPSHOT_GUEST_INIT_IDLE_INIT_H_
#define WATCHSNAP_SNAPSHOT_GUEST_INIT_IDLE_INIT_H_

#include "absl/time/time.h"

namespace watchsnap {

// Powers the machine off after `lifetime`.
[[noreturn]] void RunIdleInit(absl::Duration lifetime);

// Writes back, powers off; the machine ends here. Halts if the kernel refuses.
[[noreturn]] void PowerOffGuest();

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_GUEST_INIT_IDLE_INIT_H_
