#include "vmm/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "absl/time/clock.h"

namespace watchsnap {

bool FutexWait(std::atomic<uint32_t>& word, uint32_t expected, absl::Time deadline) {
  timespec timeout{};
  timespec* timeout_pointer = nullptr;
  if (deadline != absl::InfiniteFuture()) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    timeout = absl::ToTimespec(left);
    timeout_pointer = &timeout;
  }
  const long result = syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE,
                              expected, timeout_pointer, nullptr, 0);
  return !(result != 0 && errno == ETIMEDOUT);
}

void FutexWake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr,
          0);
}

}  // namespace watchsnap
