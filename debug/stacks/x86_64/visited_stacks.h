// VisitedStacks: which parts of which stacks unwinding has passed, to refuse a stack that comes
// back.
//
// On one stack the stack pointer only rises. An interrupt or exception may have switched stacks;
// each is left once and for good (arch/x86/kernel/dumpstack_64.c allows a stack only one visit), so
// there are few of them. Threads: one. Errors: Advance says no. Never allocates; a few comparisons
// a step.
#ifndef WATCHSNAP_DEBUG_STACKS_X86_64_VISITED_STACKS_H_
#define WATCHSNAP_DEBUG_STACKS_X86_64_VISITED_STACKS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace watchsnap::x86_64 {

class VisitedStacks {
 public:
  // THREAD_SIZE, the largest stack of x86_64 without KASAN, twice: with it.
  static constexpr uint64_t kLargestStack = 32 << 10;
  // Task, softirq on the IRQ stack, and the stacks of #DF, NMI, #DB, #MC and two of #VC.
  static constexpr size_t kMaxStacks = 8;

  explicit VisitedStacks(uint64_t sp) { parts_[0] = {sp, sp}; }

  // False if a stack that was at the last `sp` cannot have been entered from `sp`.
  bool Advance(uint64_t sp) {
    for (size_t i = 0; i + 1 < count_; ++i) {
      if (sp >= parts_[i].low && sp <= parts_[i].high) return false;
    }
    Part& current = parts_[count_ - 1];
    if (sp > current.high && sp - current.high <= kLargestStack) {
      current.high = sp;
      return true;
    }
    if (sp >= current.low && sp <= current.high) return false;
    if (count_ == kMaxStacks) return false;
    parts_[count_++] = {sp, sp};
    return true;
  }

 private:
  struct Part {
    uint64_t low = 0;
    uint64_t high = 0;
  };
  std::array<Part, kMaxStacks> parts_;
  size_t count_ = 1;
};

}  // namespace watchsnap::x86_64

#endif  // WATCHSNAP_DEBUG_STACKS_X86_64_VISITED_STACKS_H_
