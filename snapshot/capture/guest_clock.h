// GuestClock: which CLOCK_MONOTONIC of the guest belongs to a value of its time-stamp counter.
//
// The guest says, in its HELLO, its own counter and its CLOCK_MONOTONIC read next to it; the host knows
// how fast the counter runs, and what it stood at when a vCPU came out of the guest (DebugTarget's
// GuestCounter). So a hit's guest time costs nothing. Pauses that were hidden are in neither.
// Threads: set once before use; a value.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_GUEST_CLOCK_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_GUEST_CLOCK_H_

#include <cstdint>
#include <optional>

namespace watchsnap {

struct GuestClock {
  uint64_t khz = 0;             // of the guest's counter; 0: the clock is not known
  uint64_t hello_counter = 0;
  uint64_t hello_ns = 0;

  std::optional<uint64_t> At(uint64_t guest_counter) const {
    if (khz == 0) return std::nullopt;
    const __int128 ticks = static_cast<int64_t>(guest_counter - hello_counter);
    const __int128 ns = static_cast<__int128>(hello_ns) + ticks * 1'000'000 / static_cast<int64_t>(khz);
    if (ns < 0) return std::nullopt;  // before the guest's clock began
    return static_cast<uint64_t>(ns);
  }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_GUEST_CLOCK_H_
