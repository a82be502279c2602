// How much a watch may cost: its budget (past it hits are still counted, as suppressed), and what its
// captures take along.
#ifndef WATCHSNAP_SNAPSHOT_WATCH_OPTIONS_H_
#define WATCHSNAP_SNAPSHOT_WATCH_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace watchsnap {

struct WatchOptions {
  // Captures over the whole run.
  uint64_t max_captures = 1000;
  // Thousandths of wall time that this watch may keep the guest frozen, over any one second.
  uint32_t max_frozen_permille = 100;
  // Kernel variables that its captures take along, besides the watched one.
  std::vector<std::string> variables = {};

  // Every hit a capture, whatever it costs: for tests that count.
  static WatchOptions Unlimited() { return {.max_captures = ~0ull, .max_frozen_permille = 1000}; }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WATCH_OPTIONS_H_
