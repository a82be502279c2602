// HitRule: a watch that decides itself what its hits are, instead of budgets: the exit-kind trigger.
//
// Threads: Judge on the thread of the vCPU that hit, outside the guest and outside any freeze, several
// at once; WhileFrozen on the leader's thread with all vCPUs stopped, so that two calls never meet.
// Between the two another freeze may have come: WhileFrozen looks again. Judge allocates and waits for
// nothing; WhileFrozen may do what a rare event may cost.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_HIT_RULE_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_HIT_RULE_H_

#include "debug/debug_device.h"

namespace watchsnap {

class HitRule {
 public:
  enum class Action {
    kIgnore,   // it is no hit
    kFreeze,   // stop all vCPUs and call WhileFrozen, without a capture
    kCapture,  // take a capture, and call WhileFrozen before the thaw
  };
  virtual ~HitRule() = default;
  virtual Action Judge(const WatchHit& hit) = 0;
  virtual void WhileFrozen(const WatchHit& hit) = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_HIT_RULE_H_
