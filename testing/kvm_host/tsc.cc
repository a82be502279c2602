#include "testing/kvm_host/tsc.h"

#include <time.h>
#include <unistd.h>

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace watchsnap::kvm_host {

#if defined(__x86_64__)
namespace {

int64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

struct Instant {
  int64_t nanoseconds, ticks;
};

// Both clocks at one moment: of several tries the one that was interrupted least.
Instant ReadBoth() {
  Instant best = {};
  int64_t best_width = INT64_MAX;
  for (int i = 0; i < 20; ++i) {
    const int64_t before = Nanoseconds();
    const auto ticks = static_cast<int64_t>(__rdtsc());
    const int64_t width = Nanoseconds() - before;
    if (width < best_width) {
      best_width = width;
      best = {before + width / 2, ticks};
    }
  }
  return best;
}

}  // namespace

int64_t MeasureTscKhz() {
  const Instant start = ReadBoth();
  usleep(20'000);
  const Instant end = ReadBoth();
  return (end.ticks - start.ticks) * 1'000'000 / (end.nanoseconds - start.nanoseconds);
}

#else

int64_t MeasureTscKhz() { return 0; }

#endif

}  // namespace watchsnap::kvm_host
