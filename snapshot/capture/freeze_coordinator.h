// FreezeCoordinator: what happens when a watch is hit.
//
// The vCPU thread that hits leads: conditions and budgets → a free evidence buffer → freeze the others → copy
// registers, hits, stacks from SP up and what the evidence parts want → thaw → queue the buffer for the
// renderer. Nothing is allocated, formatted or looked up between freeze and thaw, and nothing is handed
// to another thread there (a hand-over costs more than two debug exits). vCPUs that hit while another leads park, and their hits become
// part of that freeze: each hit is reported, marked as sharing it.
//
// Budget of each step of a hit's pause, as multiples of a bare debug exit's round trip (about 40 µs in the
// emulated host, 2 to 4 µs on hardware); //testing/benchmarks measures them:
//   conditions and budgets   0.1   before any other vCPU is stopped; all that a suppressed hit costs
//   stopping the others      0.1   with one vCPU; with more one signal each, all before the first is waited for
//   registers, a stack, 8 KB 0.3   registers came with the exit (KVM_CAP_SYNC_REGS); stacks from SP up
//   hiding the pause         0.5   one call on the VM here, one on each vCPU, in parallel (vmm/guest_time.h)
//   thaw and hand-over       0.1   a system call only where somebody sleeps
//   entering the guest       0.3   more than after a bare exit, in the emulated host
//
// Accounting. Every hit is counted once, and at the end (once the renderer has stopped)
//   hits = captured + coalesced + suppressed + lost
// (of a watch with a HitRule only hits that it wants captured are counted).
// suppressed: its condition, its budgets, the queue, or its plugin only counts (WatchHit::count_only);
// suppressed_by tells which; lost: the freeze
// failed, or the report could not be kept; coalesced stays
// 0 here: hits that share a freeze are each captured.
//
// Threads: OnHits on vCPU threads; Add, Remove, Capture from one coordinator thread at a time;
// counters from any.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_FREEZE_COORDINATOR_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_FREEZE_COORDINATOR_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "debug/debug_device.h"
#include "debug/hit_sink.h"
#include "snapshot/capture/evidence.h"
#include "snapshot/capture/frozen_budget.h"
#include "snapshot/capture/stack_source.h"
#include "snapshot/evidence/evidence_parts.h"
#include "snapshot/evidence/evidence_recorder.h"
#include "snapshot/report/watch_counters.h"
#include "snapshot/watch_options.h"
#include "vmm/pause_barrier.h"

namespace watchsnap {

// What the renderer needs to know of a watch.
struct WatchDescription {
  std::string symbol;
  uint64_t address = 0;  // run-time KVA
  uint32_t watched_bytes = 0;
  uint64_t symbol_bytes = 0;
  // The watch of the reserved slot: at most one, told from a user's watch of the same address.
  bool reserved_slot = false;
  HitRule* rule = nullptr;  // decides what its hits are; outlives the vCPUs
};

class FreezeCoordinator : public HitSink {
 public:
  // Watches at a time, the reserved one included.
  static constexpr int kMaxWatches = 64;

  struct Options {
    absl::Duration freeze_deadline = absl::Seconds(2);
    // How long a hit may wait, with the guest frozen, for the renderer to free a buffer before it counts as
    // suppressed (QueueFull::kBlock). Shorter than the deadlines of others who want to freeze.
    absl::Duration buffer_wait = absl::Seconds(1);
  };
  // All stay the caller's and outlive the vCPUs.
  FreezeCoordinator(PauseBarrier* barrier, DebugTarget* target, EvidencePool* pool, Options options);

  // From here on captures hold the vCPUs' stacks. `source` outlives the vCPUs.
  void SetStackSource(const StackSource* source) { stacks_.store(source); }
  // From here on captures hold what these parts copy. They outlive the vCPUs and the renderer. Once, and
  // only with a pool that has a ring.
  void SetParts(const EvidenceParts* parts);

  // Announces a watch *before* it is armed, so that its first hit finds it; returns its index.
  // ResourceExhausted past the table's 64 entries.
  absl::StatusOr<int> Add(const WatchDescription& description, const WatchOptions& options);
  // Before the first Add. Called once a watch with OnBudget::kDisarm, at its first hit past max_captures, on the
  // thread of the vCPU that hit, outside any freeze: it must not disarm there, but have it done.
  void SetOnSpent(std::function<void(int watch)> on_spent) { on_spent_ = std::move(on_spent); }
  // The watch was disarmed. Its counters stay; a hit that was under way is still counted.
  void CountDisarmed(int watch) { watches_[watch].disarmed.store(1); }
  // Takes back a watch that could not be armed, or was disarmed; its counters stay until the index is
  // used again.
  void Remove(int watch);

  void OnHits(int vcpu, const WatchHits& hits) override;

  // A capture that no watch triggered. Not on a vCPU thread. Returns once the guest runs again.
  absl::Status Capture(TriggerKind kind, std::string_view tag);

  // Empty where the guest's clocks do not show pauses, else why they do.
  std::string_view why_time_is_not_hidden() const { return target_->WhyTimeIsNotHidden(); }
  const WatchDescription& description(int watch) const { return watches_[watch].description; }
  int watch_count() const { return watch_count_.load(std::memory_order_acquire); }
  WatchCounters counters(int watch) const;
  // By the renderer: the report of a hit of `watch` was kept, or could not be.
  void CountCaptured(int watch) { watches_[watch].captured.fetch_add(1); }
  void CountLost(int watch) { watches_[watch].lost.fetch_add(1); }

 private:
  // In the order of SuppressedBy.
  enum Reason { kCondition, kEveryNth, kInterval, kCaptures, kFrozenTime, kQueue, kPlugin, kReasons };
  struct Watch {
    std::atomic<uint64_t> address{0};  // 0: free
    WatchDescription description;
    WatchOptions options;
    FrozenBudget budget;
    std::atomic<uint64_t> hits{0};
    std::atomic<uint64_t> admitted{0};
    std::atomic<uint64_t> captured{0};
    std::atomic<uint64_t> lost{0};
    std::atomic<uint64_t> disarmed{0};
    std::array<std::atomic<uint64_t>, kReasons> suppressed{};
    std::atomic<uint64_t> wanted{0};  // hits whose condition holds
    std::atomic<int64_t> captured_at_ns{0};
    std::atomic<bool> said_suppressed{false};
    std::atomic<bool> spent{false};
  };
  // What a vCPU that hit shows to whoever leads the freeze it parks for.
  struct alignas(64) Pending {
    std::atomic<bool> waiting{false};
    int count = 0;
    std::array<HitEvidence, 4> hits;
  };

  static constexpr int kRuleWaits = 30;
  int FindWatch(const WatchHit& hit) const;
  // Counts the hits and fills `pending` with those that are to be captured.
  void Admit(const WatchHits& hits, Pending& pending, int64_t now_ns);
  // Why a hit of `watch` is not to be captured, if so.
  std::optional<Reason> Judge(Watch& watch, const WatchHit& hit, int64_t now_ns);
  static void Suppress(Watch& watch, Reason reason);
  // How long these hits wait for the renderer.
  absl::Duration BufferWait(const Pending& pending) const;
  void SuppressUnqueued(const Pending& pending);
  void CopyEvidence(CaptureEvidence& evidence);
  void CopyParts(CaptureEvidence& evidence);
  void Finish(CaptureEvidence* evidence, FrozenVcpus frozen);

  PauseBarrier* const barrier_;
  DebugTarget* const target_;
  EvidencePool* const pool_;
  const Options options_;
  std::array<Watch, kMaxWatches> watches_;
  std::atomic<int> watch_count_{0};
  std::atomic<const StackSource*> stacks_{nullptr};
  std::atomic<const EvidenceParts*> parts_{nullptr};
  EvidenceRecorder recorder_;  // the leader's
  std::vector<Pending> pending_;
  std::function<void(int)> on_spent_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_FREEZE_COORDINATOR_H_
