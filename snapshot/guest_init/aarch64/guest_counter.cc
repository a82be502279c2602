#include "snapshot/guest_init/guest_clock.h"

namespace watchsnap {

uint64_t ReadGuestCounter() {
  uint64_t ticks = 0;
  asm volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks)::"memory");
  return ticks;
}

}  // namespace watchsnap
