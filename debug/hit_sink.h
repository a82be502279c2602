// HitSink: who is told of hits. The freeze coordinator is one; a plugin test's counter another.
#ifndef WATCHSNAP_DEBUG_HIT_SINK_H_
#define WATCHSNAP_DEBUG_HIT_SINK_H_

#include "debug/debug_device.h"

namespace watchsnap {

class HitSink {
 public:
  virtual ~HitSink() = default;
  // On the thread of the vCPU that hit, outside the guest; the vCPU goes on when this returns. It
  // may lead a freeze (PauseBarrier::TryLead) and must not wait for anything else.
  virtual void OnHits(int vcpu, const WatchHits& hits) = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_HIT_SINK_H_
