// CaptureEvidence: what is copied while the guest is frozen, and nothing else. Rendering into a Report
// happens later, from these bytes, on the renderer's thread. Registers, hits and stacks have places of
// their own; what the evidence parts copy lies in a block of the pool's ring.
//
// Buffers are made once, sized for the machine's vCPUs; filling one allocates nothing.
// Units: `*_ns` are CLOCK_MONOTONIC of the host, `guest_counter` is the guest's time-stamp counter.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_EVIDENCE_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_EVIDENCE_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "debug/debug_device.h"
#include "debug/stacks/stack_copy.h"
#include "snapshot/capture/hit_rule.h"
#include "snapshot/evidence/evidence_parts.h"
#include "snapshot/evidence/evidence_ring.h"
#include "snapshot/report/report.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap {

struct HitEvidence {
  int watch = -1;  // index in the coordinator's table
  WatchHit hit;
  int64_t exit_ns = 0;  // when the vCPU came out of the guest
  HitRule* rule = nullptr;  // of a watch that has one
  bool capture = true;      // false: the rule wanted the freeze only
};

struct CaptureEvidence {
  TriggerKind kind = TriggerKind::kWatch;
  std::string tag;     // of a capture that no watch triggered
  int leader = -1;     // the vCPU that led the freeze; -1: another thread
  int hit_count = 0;   // several: vCPUs that hit at once, or several slots of one exit
  std::vector<HitEvidence> hits;         // capacity for every vCPU's
  std::vector<VcpuRegisters> registers;  // by vCPU
  std::vector<StackCopy> stacks;         // by vCPU; empty ones where stacks are not known yet
  const EvidenceParts* parts = nullptr;  // that copied into the block; null: none were known yet
  EvidenceBlock block;
  uint64_t refused_bytes = 0;            // that parts wanted and the ring had no room for
  std::vector<int> watches;              // of the hits, for the parts; capacity for every vCPU's
  uint64_t guest_counter = 0;            // when the leader came out of the guest
  int64_t start_ns = 0;     // the leader came out of the guest, or the freeze was asked for
  int64_t frozen_ns = 0;    // all had parked
  int64_t evidence_ns = 0;  // all was copied
  int64_t thawed_ns = 0;    // all were let go
  uint64_t hidden_ns = 0;   // how much of the pause the guest's clocks do not show

  CaptureContext Context() const {
    return {.kind = kind, .registers = registers, .watches = watches, .tag = tag};
  }
};

// A fixed set of buffers going round: free → filled by a leader → queued → rendered → free.
// Threads: any. The lock is held for a few instructions only, and never during a freeze.
class EvidencePool {
 public:
  // `ring`: for what evidence parts copy; without one there is no room for any.
  EvidencePool(int buffers, int vcpus, std::unique_ptr<EvidenceRing> ring = nullptr);

  // Null without a ring.
  EvidenceRing* ring() { return ring_.get(); }
  // A free buffer, or nullptr if the renderer has all of them or what it has fills the ring so far that
  // the next capture may not find room.
  CaptureEvidence* TryAcquire();
  // The same, but waits so long for the renderer to give one back.
  CaptureEvidence* Acquire(absl::Duration wait);
  // Gives back a buffer that was acquired and not submitted.
  void Release(CaptureEvidence* evidence);
  // Hands a filled buffer to the renderer, in order.
  void Submit(CaptureEvidence* evidence);
  // The renderer's side: the next filled buffer; nullptr once closed and empty. For a moment after a
  // buffer came it looks for the next by itself, now and then, and is woken only once a quarter of the buffers waits: to
  // wake it costs the vCPU that hit as much as a debug exit, and where hits are frequent none pays it.
  CaptureEvidence* Take();
  // The next filled buffer if there is one now, or nullptr.
  CaptureEvidence* TakeReady();
  // Gives back a buffer that Take handed out.
  void Rendered(CaptureEvidence* evidence);
  // After this Take returns what is queued, then nullptr.
  void Close();

 private:
  // Enough for twice the largest capture so far, and always for one if nothing else is queued.
  bool RingHasRoom() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Ends the sleep of a renderer that lingers.
  void LookNow();
  CaptureEvidence* TakeFree() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  CaptureEvidence* TakeFilled() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int vcpus_;
  const std::unique_ptr<EvidenceRing> ring_;
  std::vector<std::unique_ptr<CaptureEvidence>> buffers_;
  absl::Mutex mutex_;
  size_t largest_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<CaptureEvidence*> free_ ABSL_GUARDED_BY(mutex_);
  std::deque<CaptureEvidence*> queue_ ABSL_GUARDED_BY(mutex_);
  int rendering_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time linger_until_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  // What a renderer that lingers sleeps on; changes when it should look now.
  std::atomic<uint32_t> look_{0};
  std::atomic<bool> lingers_{false};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_EVIDENCE_H_
