// The host's free-running counter that the guest's clocks derive from: the time-stamp counter.
#ifndef WATCHSNAP_VMM_X86_64_HOST_COUNTER_H_
#define WATCHSNAP_VMM_X86_64_HOST_COUNTER_H_

#include <x86intrin.h>

#include <cstdint>

namespace watchsnap {

inline uint64_t HostCounter() { return __rdtsc(); }

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_HOST_COUNTER_H_
