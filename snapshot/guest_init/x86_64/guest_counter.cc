#include <x86intrin.h>

#include "snapshot/guest_init/guest_clock.h"

namespace watchsnap {

uint64_t ReadGuestCounter() { return __rdtsc(); }

}  // namespace watchsnap
