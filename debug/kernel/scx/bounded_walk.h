// A walk along pointers in guest memory that ends whatever the pointers say.
//
//   WalkEnd end = WalkChain(first, max, [&](uint64_t at) { return at == head; },
//                           [&](uint64_t at, uint64_t& next) { return LoadNode(at, next); });
//
// `is_end` says of an address that the chain is over; `visit` reads the node there and its `next`, or
// says no. At most `max` nodes are visited. A chain that bites its own tail is found out before
// twice its length has been visited (Brent, "An improved Monte Carlo factorization algorithm", 1980).
// Threads: a pure function; allocates nothing.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_BOUNDED_WALK_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_BOUNDED_WALK_H_

#include <cstdint>

namespace watchsnap {

enum class WalkEnd {
  kWhole,       // it came to its end
  kCut,         // there is more than `max`
  kUnreadable,  // a node is not there
  kCycle,       // it never comes to its end
};

// Both x86_64 and aarch64 have the kernel in the upper half.
inline bool IsKernelAddress(uint64_t address) { return (address >> 63) != 0; }

template <typename IsEnd, typename Visit>
WalkEnd WalkChain(uint64_t first, int max, const IsEnd& is_end, const Visit& visit) {
  uint64_t at = first;
  uint64_t anchor = 0;
  int since_anchor = 0;
  int stride = 1;
  for (int visited = 0; visited < max; ++visited) {
    if (is_end(at)) return WalkEnd::kWhole;
    if (!IsKernelAddress(at)) return WalkEnd::kUnreadable;
    if (at == anchor) return WalkEnd::kCycle;
    if (since_anchor++ == stride) {
      anchor = at;
      since_anchor = 0;
      stride *= 2;
    }
    uint64_t next = 0;
    if (!visit(at, next)) return WalkEnd::kUnreadable;
    at = next;
  }
  return is_end(at) ? WalkEnd::kWhole : WalkEnd::kCut;
}

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_BOUNDED_WALK_H_
