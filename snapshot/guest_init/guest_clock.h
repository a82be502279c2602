// The guest's two clocks read together: what the host needs to turn time-stamp counts into guest
// time.
//
// Threads: any. Errors: none; x86_64 reads the TSC, aarch64 CNTVCT_EL0.
#ifndef WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_CLOCK_H_
#define WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_CLOCK_H_

#include <cstdint>

namespace watchsnap {

struct GuestClock {
  uint64_t counter = 0;       // ticks of the architecture's counter
  uint64_t monotonic_ns = 0;  // CLOCK_MONOTONIC
};

// The closest of several readings, so that an interrupt between the two reads does not spoil the
// pair.
GuestClock ReadGuestClock();

// The architecture's counter alone (x86_64/, aarch64/).
uint64_t ReadGuestCounter();

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_CLOCK_H_
