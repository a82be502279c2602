// Futex waits on a 32-bit word: what the pause barrier is made of. Linux futex(2), private futexes.
#ifndef WATCHSNAP_VMM_FUTEX_H_
#define WATCHSNAP_VMM_FUTEX_H_

#include <atomic>
#include <climits>
#include <cstdint>

#include "absl/time/time.h"

namespace watchsnap {

// Sleeps while `word` holds `expected`; wakes may be spurious. Returns false once `deadline` passed.
bool FutexWait(std::atomic<uint32_t>& word, uint32_t expected,
               absl::Time deadline = absl::InfiniteFuture());
void FutexWake(std::atomic<uint32_t>& word, int count = INT_MAX);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_FUTEX_H_
