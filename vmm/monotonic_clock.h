// The host's monotonic clock, as pauses and captures are timed by it. Any thread; allocates nothing.
#ifndef WATCHSNAP_VMM_MONOTONIC_CLOCK_H_
#define WATCHSNAP_VMM_MONOTONIC_CLOCK_H_

#include <time.h>

#include <cstdint>

namespace watchsnap {

// CLOCK_MONOTONIC in nanoseconds.
inline int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_MONOTONIC_CLOCK_H_
