// How much a watch may cost, which of its hits are worth a capture, and what its captures take along.
//
// Every hit is decided by the vCPU that hit, before any other vCPU is stopped, in this order: its
// condition, every_nth, min_interval, max_captures, max_frozen_permille, room in the queue. The first that says no
// makes the hit a suppressed one, and WatchCounters::suppressed_by says which it was.
#ifndef WATCHSNAP_SNAPSHOT_WATCH_OPTIONS_H_
#define WATCHSNAP_SNAPSHOT_WATCH_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "snapshot/watch_condition.h"

namespace watchsnap {

// What happens once max_captures are taken. The numbers are those of the wire.
enum class OnBudget : uint8_t {
  kCount = 0,   // hits go on being counted, as suppressed, at the price of a debug exit each
  kDisarm = 1,  // the watch is disarmed at the first hit past it; what is written afterwards is not seen
};

// What happens to a hit while the renderer is behind and has all evidence buffers.
enum class QueueFull : uint8_t {
  kBlock = 0,  // it waits for one, with the guest frozen (and its time with it), up to a second
  kCount = 1,  // it is counted as suppressed, and the guest goes on at once
};

struct WatchOptions {
  // Captures over the whole run.
  uint64_t max_captures = 1000;
  // Thousandths of wall time that this watch may keep the guest frozen, over any one second.
  uint32_t max_frozen_permille = 100;
  // Kernel variables that its captures take along, besides the watched one.
  std::vector<std::string> variables = {};
  // Only hits that store such a value.
  WatchCondition when = {};
  // Of those the first and then each nth; 1: all.
  uint64_t every_nth = 1;
  // At least so long after the hit that was captured last.
  uint64_t min_interval_us = 0;
  OnBudget on_budget = OnBudget::kCount;
  QueueFull queue_full = QueueFull::kBlock;

  // Every hit a capture, whatever it costs: for tests that count.
  static WatchOptions Unlimited() { return {.max_captures = ~0ull, .max_frozen_permille = 1000}; }

  bool operator==(const WatchOptions&) const = default;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WATCH_OPTIONS_H_
