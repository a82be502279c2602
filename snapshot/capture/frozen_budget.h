// FrozenBudget: how long the guest may be kept frozen over any one second of wall time.
//
//   if (budget.Allows(now_ns)) { … freeze … budget.Spend(now_ns, pause_ns); }
//
// A sliding second in 20 parts of 50 ms: over any second the time spent is at most the allowance plus
// the one freeze that crosses it. Neither call allocates or blocks for longer than the other's few
// instructions.
// Threads: any. Units: nanoseconds of CLOCK_MONOTONIC.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_FROZEN_BUDGET_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_FROZEN_BUDGET_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace watchsnap {

class FrozenBudget {
 public:
  // 1000: no limit.
  explicit FrozenBudget(uint32_t permille = 1000) : permille_(permille) {}

  void set_permille(uint32_t permille) { permille_.store(permille, std::memory_order_relaxed); }
  bool Allows(int64_t now_ns);
  void Spend(int64_t now_ns, int64_t pause_ns);

 private:
  static constexpr int kParts = 20;
  static constexpr int64_t kPartNs = 50'000'000;
  void Advance(int64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Without one no account is kept.
  bool HasLimit() const { return permille_.load(std::memory_order_relaxed) < 1000; }

  std::atomic<uint32_t> permille_;
  absl::Mutex mutex_;
  std::array<int64_t, kParts> spent_ ABSL_GUARDED_BY(mutex_) = {};
  int64_t part_ ABSL_GUARDED_BY(mutex_) = 0;   // number of the newest part since the epoch
  int64_t total_ ABSL_GUARDED_BY(mutex_) = 0;  // of `spent_`
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_FROZEN_BUDGET_H_
