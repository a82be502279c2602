// What became of a watch: the counters of its result and of its sidecar's last line.
//
// Every trap is a hit, and every hit has exactly one fate. A watch that never fired has hits = 0
// and armed = 1: the two are told apart from a watch that was never armed. A value; not
// synchronised.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_WATCH_COUNTERS_H_
#define WATCHSNAP_SNAPSHOT_REPORT_WATCH_COUNTERS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {

struct WatchCounters {
  uint64_t armed = 0;       // how often the watch was armed
  uint64_t hits = 0;        // traps
  uint64_t captured = 0;    // hits that became a capture
  uint64_t coalesced = 0;   // hits whose evidence is in the capture of another hit
  uint64_t suppressed = 0;  // hits past the budget, or by policy
  uint64_t lost = 0;        // hits whose evidence was taken and could not be kept
  bool operator==(const WatchCounters&) const = default;
};

// INTERNAL with the numbers unless hits = captured + coalesced + suppressed + lost.
inline absl::Status CheckConsistent(const WatchCounters& c) {
  if (c.hits == c.captured + c.coalesced + c.suppressed + c.lost) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the counters of a watch do not add up: ", c.hits,
                                          " hits are not ", c.captured, " captured + ", c.coalesced,
                                          " coalesced + ", c.suppressed, " suppressed + ", c.lost,
                                          " lost"));
}

// "12 hits, 10 captured, 0 coalesced, 2 suppressed, 0 lost", as the program prints it.
inline std::string CountersText(const WatchCounters& c) {
  return absl::StrCat(c.hits, " hits, ", c.captured, " captured, ", c.coalesced, " coalesced, ",
                      c.suppressed, " suppressed, ", c.lost, " lost");
}

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_WATCH_COUNTERS_H_
