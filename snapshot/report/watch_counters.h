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

// Why hits became no capture; the sum is WatchCounters::suppressed.
struct SuppressedBy {
  uint64_t condition = 0;    // the stored value is not one that was asked for
  uint64_t every_nth = 0;    // not the nth
  uint64_t interval = 0;     // too soon after the capture before
  uint64_t captures = 0;     // past the budget of captures
  uint64_t frozen_time = 0;  // past the budget of time frozen
  uint64_t queue = 0;        // no room: captures come faster than they are rendered
  uint64_t plugin = 0;       // the debug plugin only counts
  bool operator==(const SuppressedBy&) const = default;

  // Calls visit(name, count), with the names of the sidecar's summary.
  template <typename Self, typename Visitor>
  static void ForEach(Self& self, Visitor&& visit) {
    visit("condition", self.condition);
    visit("every_nth", self.every_nth);
    visit("interval", self.interval);
    visit("captures", self.captures);
    visit("frozen_time", self.frozen_time);
    visit("queue", self.queue);
    visit("plugin", self.plugin);
  }
};

struct WatchCounters {
  uint64_t armed = 0;       // how often the watch was armed
  uint64_t hits = 0;        // traps
  uint64_t captured = 0;    // hits that became a capture
  uint64_t coalesced = 0;   // hits whose evidence is in the capture of another hit
  uint64_t suppressed = 0;  // hits past the budget, or by policy
  uint64_t lost = 0;        // hits whose evidence was taken and could not be kept
  uint64_t disarmed = 0;    // 1: it was disarmed when its budget of captures was used up
  SuppressedBy suppressed_by;
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

// What there is to say besides: "suppressed: 90 by condition, 3 by captures", "disarmed …"; else empty.
inline std::string SuppressionText(const WatchCounters& c) {
  std::string text;
  SuppressedBy::ForEach(c.suppressed_by, [&text](const char* name, uint64_t count) {
    if (count == 0) return;
    absl::StrAppend(&text, text.empty() ? "suppressed: " : ", ", count, " by ", name);
  });
  if (c.disarmed != 0) {
    absl::StrAppend(&text, text.empty() ? "" : "; ",
                    "disarmed when its budget of captures was used up");
  }
  return text;
}

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_WATCH_COUNTERS_H_
