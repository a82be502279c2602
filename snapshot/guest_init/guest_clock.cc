#include "snapshot/guest_init/guest_clock.h"

#include <time.h>

namespace watchsnap {

GuestClock ReadGuestClock() {
  constexpr int kReadings = 16;
  GuestClock best;
  uint64_t best_width = ~0ull;
  for (int i = 0; i < kReadings; ++i) {
    timespec now = {};
    const uint64_t before = ReadGuestCounter();
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t width = ReadGuestCounter() - before;
    if (width >= best_width) continue;
    best_width = width;
    best.counter = before + width / 2;
    best.monotonic_ns =
        static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  }
  return best;
}

}  // namespace watchsnap
