#include "testing/scenario/worker_loop.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace watchsnap {
namespace {

constexpr uint64_t kSleepNs = 2'000'000;
// Between two looks at the clock: well below what counts as a gap.
constexpr int kSpinTurns = 2'000;
constexpr int kMixedTurns = 50;

uint64_t Now() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void Add(std::atomic<uint64_t>& number, uint64_t more) {
  number.store(number.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

void Raise(std::atomic<uint64_t>& number, uint64_t to) {
  if (to > number.load(std::memory_order_relaxed)) number.store(to, std::memory_order_relaxed);
}

// Writes down what one process of a worker sees.
class Recorder {
 public:
  explicit Recorder(WorkerRecord& record) : record_(record), cpu_(sched_getcpu()), before_(Now()) {}

  void Iteration() {
    Add(record_.iterations, 1);
    const int cpu = sched_getcpu();
    if (cpu != cpu_) Add(record_.migrations, 1);
    cpu_ = cpu;
  }
  // The worker was running all the time since the last call, or should have been.
  void Ran() {
    const uint64_t now = Now();
    Raise(record_.longest_gap_ns, now - before_);
    before_ = now;
  }
  // It was to wake up at `due`, and does now.
  void Woke(uint64_t due) {
    const uint64_t now = Now();
    const uint64_t late = now > due ? now - due : 0;
    Add(record_.wakeups, 1);
    Add(record_.latency_sum_ns, late);
    Raise(record_.latency_max_ns, late);
    before_ = now;
  }

 private:
  WorkerRecord& record_;
  int cpu_;
  uint64_t before_;
};

void Burn(int turns) {
  for (int i = 0; i < turns; ++i) asm volatile("" ::: "memory");  // not optimised away
}

void Sleep(Recorder& recorder) {
  const uint64_t due = Now() + kSleepNs;
  const timespec until = {.tv_sec = static_cast<time_t>(due / 1'000'000'000),
                          .tv_nsec = static_cast<long>(due % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
  recorder.Woke(due);
}

[[noreturn]] void Spin(Recorder& recorder) {
  while (true) {
    Burn(kSpinTurns);
    recorder.Ran();
    recorder.Iteration();
  }
}

[[noreturn]] void Yield(Recorder& recorder) {
  while (true) {
    sched_yield();
    recorder.Ran();
    recorder.Iteration();
  }
}

[[noreturn]] void SleepForEver(Recorder& recorder) {
  while (true) {
    Sleep(recorder);
    recorder.Iteration();
  }
}

[[noreturn]] void Mix(Recorder& recorder) {
  while (true) {
    for (int i = 0; i < kMixedTurns; ++i) {
      Burn(kSpinTurns);
      recorder.Ran();
    }
    sched_yield();
    Sleep(recorder);
    recorder.Iteration();
  }
}

// The child writes down when it went; waking from the wait for it is what may be late.
[[noreturn]] void ForkExit(WorkerRecord& record) {
  Recorder recorder(record);
  while (true) {
    const pid_t child = fork();
    if (child == 0) {
      record.woken_at_ns.store(Now(), std::memory_order_relaxed);
      _exit(0);
    }
    if (child < 0) _exit(1);
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    recorder.Woke(record.woken_at_ns.load(std::memory_order_relaxed));
    recorder.Iteration();
  }
}

// Makes the other process of a pair; it goes when this one does.
bool IsPartner() {
  const pid_t maker = getpid();
  const pid_t partner = fork();
  if (partner < 0) _exit(1);
  if (partner > 0) return false;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != maker) _exit(0);
  return true;
}

// Each message is the time it was sent, so the receiver knows how long its waking took.
[[noreturn]] void PipePingPong(WorkerRecord& record) {
  int there[2];
  int back[2];
  if (pipe(there) != 0 || pipe(back) != 0) _exit(1);
  const bool partner = IsPartner();
  const int in = partner ? there[0] : back[0];
  const int out = partner ? back[1] : there[1];
  WorkerRecord partners_own;
  Recorder recorder(partner ? partners_own : record);
  for (bool send = !partner;; send = true) {
    uint64_t sent = Now();
    if (send && write(out, &sent, sizeof(sent)) != sizeof(sent)) _exit(1);
    if (read(in, &sent, sizeof(sent)) != sizeof(sent)) _exit(1);
    recorder.Woke(sent);
    recorder.Iteration();
  }
}

// `record.turn` says whose turn it is: even the worker's, odd the partner's.
[[noreturn]] void FutexPingPong(WorkerRecord& record) {
  const bool partner = IsPartner();
  WorkerRecord partners_own;
  Recorder recorder(partner ? partners_own : record);
  const uint32_t mine = partner ? 1 : 0;
  auto* const word = reinterpret_cast<uint32_t*>(&record.turn);
  while (true) {
    uint32_t turn = record.turn.load(std::memory_order_acquire);
    if (turn % 2 != mine) {
      syscall(SYS_futex, word, FUTEX_WAIT, turn, nullptr, nullptr, 0);
      continue;
    }
    if (const uint64_t woken = record.woken_at_ns.load(std::memory_order_relaxed); woken != 0) {
      recorder.Woke(woken);
    }
    recorder.Iteration();
    record.woken_at_ns.store(Now(), std::memory_order_relaxed);
    record.turn.store(turn + 1, std::memory_order_release);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
}

}  // namespace

void RunWorker(WorkType work, WorkerRecord& record) {
  Recorder recorder(record);
  switch (work) {
    case WorkType::kSpin:
      Spin(recorder);
    case WorkType::kYield:
      Yield(recorder);
    case WorkType::kSleep:
      SleepForEver(recorder);
    case WorkType::kMixed:
      Mix(recorder);
    case WorkType::kForkExit:
      ForkExit(record);
    case WorkType::kPipe:
      PipePingPong(record);
    case WorkType::kFutex:
      FutexPingPong(record);
  }
  _exit(1);
}

}  // namespace watchsnap
