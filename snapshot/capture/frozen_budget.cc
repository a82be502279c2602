#include "snapshot/capture/frozen_budget.h"

namespace watchsnap {

void FrozenBudget::Advance(int64_t now_ns) {
  const int64_t part = now_ns / kPartNs;
  if (part <= part_) return;
  if (part - part_ >= kParts) {
    spent_.fill(0);
    total_ = 0;
  } else {
    for (int64_t p = part_ + 1; p <= part; ++p) {
      total_ -= spent_[p % kParts];
      spent_[p % kParts] = 0;
    }
  }
  part_ = part;
}

bool FrozenBudget::Allows(int64_t now_ns) {
  if (!HasLimit()) return true;
  absl::MutexLock lock(&mutex_);
  Advance(now_ns);
  return total_ < int64_t{permille_.load(std::memory_order_relaxed)} * 1'000'000;
}

void FrozenBudget::Spend(int64_t now_ns, int64_t pause_ns) {
  if (!HasLimit()) return;
  absl::MutexLock lock(&mutex_);
  Advance(now_ns);
  spent_[part_ % kParts] += pause_ns;
  total_ += pause_ns;
}

}  // namespace watchsnap
