// What one worker of a cgroup does all its life, and what it writes down of it.
//
// A worker is a process. Its record lies in memory that it shares with whoever made it, so that
// what it did is known after it was killed. Only the worker writes; others read each number whole,
// and the numbers may be an iteration apart.
//
// Threads: RunWorker is the only thread of its process. Errors: none; a worker that cannot do its
// work exits with 1, which its cgroup notices.
#ifndef WATCHSNAP_TESTING_SCENARIO_WORKER_LOOP_H_
#define WATCHSNAP_TESTING_SCENARIO_WORKER_LOOP_H_

#include <atomic>
#include <cstdint>

#include "testing/scenario/step.h"

namespace watchsnap {

struct alignas(64) WorkerRecord {
  std::atomic<uint64_t> iterations = 0;
  std::atomic<uint64_t> wakeups = 0;
  std::atomic<uint64_t> latency_sum_ns = 0;
  std::atomic<uint64_t> latency_max_ns = 0;
  std::atomic<uint64_t> migrations = 0;
  std::atomic<uint64_t> longest_gap_ns = 0;
  // Between the two processes of a pair: a futex word, and when it was last woken.
  std::atomic<uint32_t> turn = 0;
  std::atomic<uint64_t> woken_at_ns = 0;
};

[[noreturn]] void RunWorker(WorkType work, WorkerRecord& record);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_WORKER_LOOP_H_
