// The cost of a hit of a bare guest, beside its floors, on the same vCPUs, in one run.
//
// vCPU 0 stores to a watched word for ever. Blocks of hits go through the product's path (debug plugin,
// coordinator, evidence, guest time) and, in turns with them, through a floor: KVM_RUN called on the very same
// vCPU and nothing else done; with more vCPUs, each of them signalled, seen to have come out, and let go. A sample lasts
// from before the guest is entered until the hit has been dealt with, both ways.
//
// Threads: all by the caller's. Needs a host that delivers watchpoints.
#ifndef WATCHSNAP_TESTING_BENCHMARKS_BARE_FREEZE_H_
#define WATCHSNAP_TESTING_BENCHMARKS_BARE_FREEZE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "snapshot/watch_options.h"
#include "testing/benchmarks/figures.h"

namespace watchsnap {

struct BareFreezeOptions {
  int vcpus = 1;
  bool others_halted = false;  // else they spin
  WatchOptions watch = WatchOptions::Unlimited();
  size_t stack_bytes = 4096;      // copied with each hit, as a stack from SP up is
  size_t variables = 8;           // of `variable_bytes` each, copied as kernel variables are
  size_t variable_bytes = 1024;
  size_t floor_copy_bytes = 0;    // the floor copies so much, by one memcpy
  int blocks = 20;
  int block = 100;                // hits a block
};

struct BareFreezeResult {
  Samples product;
  Samples floor;
  // Of the product's captures, as their reports say it.
  Samples freeze, evidence, thaw, pause, hidden;
};

absl::StatusOr<BareFreezeResult> MeasureBareFreeze(const BareFreezeOptions& options);

// What hiding a pause is made of, each by itself, and a bare exit after each of them (what it leaves for the
// next entry): "KVM_SET_CLOCK: 9.1 µs, p99 …; the exit after it 45.0 µs, p99 …".
absl::StatusOr<std::vector<std::string>> MeasureSteps();

struct SustainedResult {
  double captures_per_second = 0;
  double renderer_share = 0;  // of one CPU
  double vcpu_share = 0;
};

// A counter of a bare guest, each store a capture that is rendered, for `seconds`.
absl::StatusOr<SustainedResult> MeasureSustained(double seconds);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_BENCHMARKS_BARE_FREEZE_H_
