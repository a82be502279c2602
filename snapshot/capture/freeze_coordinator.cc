#include "snapshot/capture/freeze_coordinator.h"

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "vmm/monotonic_clock.h"

namespace watchsnap {
FreezeCoordinator::FreezeCoordinator(PauseBarrier* barrier, DebugTarget* target, EvidencePool* pool,
                                     Options options)
    : barrier_(barrier),
      target_(target),
      pool_(pool),
      options_(options),
      recorder_(pool->ring()),
      pending_(target->vcpu_count()) {}

void FreezeCoordinator::SetParts(const EvidenceParts* parts) {
  CHECK(pool_->ring() != nullptr) << "evidence parts need a pool with a ring";
  parts_.store(parts, std::memory_order_release);
}

absl::StatusOr<int> FreezeCoordinator::Add(const WatchDescription& description,
                                           const WatchOptions& options) {
  CHECK_NE(description.address, 0u) << "a watch of address 0";
  int index = 0;
  const int count = watch_count();
  while (index < count && watches_[index].address.load() != 0) ++index;
  if (index == kMaxWatches) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", kMaxWatches, " entries of the watch table are taken"));
  }
  Watch& watch = watches_[index];
  watch.description = description;
  watch.options = options;
  watch.budget.set_permille(options.max_frozen_permille);
  watch.hits = watch.admitted = watch.captured = watch.lost = watch.disarmed = watch.wanted = 0;
  for (std::atomic<uint64_t>& suppressed : watch.suppressed) suppressed = 0;
  watch.captured_at_ns = 0;
  watch.said_suppressed = watch.spent = false;
  watch.address.store(description.address, std::memory_order_release);
  if (index == count) watch_count_.store(count + 1, std::memory_order_release);
  return index;
}

void FreezeCoordinator::Remove(int watch) { watches_[watch].address.store(0); }

int FreezeCoordinator::FindWatch(const WatchHit& hit) const {
  const int count = watch_count();
  for (int i = 0; i < count; ++i) {
    const uint64_t address = watches_[i].address.load(std::memory_order_acquire);
    if (address == 0 || watches_[i].description.reserved_slot != hit.reserved_slot) continue;
    // The reserved watch moves about.
    if (hit.reserved_slot || address == hit.address) return i;
  }
  return -1;
}

void FreezeCoordinator::Suppress(Watch& watch, Reason reason) {
  watch.suppressed[reason].fetch_add(1);
  // What was asked for needs no words.
  if (reason == kCondition || reason == kEveryNth || reason == kInterval || reason == kPlugin) return;
  if (watch.said_suppressed.exchange(true)) return;
  LOG(WARNING) << "watch " << watch.description.symbol << ": "
               << (reason == kCaptures ? "its budget of captures is used up"
                   : reason == kFrozenTime
                       ? "it kept the guest frozen for as much of a second as its budget allows"
                       : "captures come faster than they are rendered")
               << ": from here on such hits are counted as suppressed, without a capture";
}

std::optional<FreezeCoordinator::Reason> FreezeCoordinator::Judge(Watch& watch, const WatchHit& hit,
                                                                  int64_t now_ns) {
  const WatchOptions& options = watch.options;
  if (hit.count_only) return kPlugin;
  // What cannot be decided is captured.
  if (hit.values_known && !options.when.Holds(hit.old_value, hit.new_value)) return kCondition;
  if (options.every_nth > 1 && watch.wanted.fetch_add(1) % options.every_nth != 0) return kEveryNth;
  if (options.min_interval_us > 0) {
    const int64_t interval = static_cast<int64_t>(options.min_interval_us) * 1000;
    int64_t last = watch.captured_at_ns.load();
    do {
      if (last != 0 && now_ns - last < interval) return kInterval;
      // Of two vCPUs that hit at once one is taken.
    } while (!watch.captured_at_ns.compare_exchange_weak(last, now_ns));
  }
  if (watch.admitted.load() >= options.max_captures) return kCaptures;
  if (!watch.budget.Allows(now_ns)) return kFrozenTime;
  return std::nullopt;
}

void FreezeCoordinator::Admit(const WatchHits& hits, Pending& pending, int64_t now_ns) {
  pending.count = 0;
  for (int i = 0; i < hits.count; ++i) {
    const int index = FindWatch(hits.hits[i]);
    if (index < 0) continue;  // disarmed a moment ago
    Watch& watch = watches_[index];
    if (HitRule* rule = watch.description.rule; rule != nullptr) {
      const HitRule::Action action = rule->Judge(hits.hits[i]);
      if (action == HitRule::Action::kIgnore) continue;
      const bool capture = action == HitRule::Action::kCapture;
      if (capture) watch.hits.fetch_add(1);
      pending.hits[pending.count++] = {.watch = index,
                                       .hit = hits.hits[i],
                                       .exit_ns = now_ns,
                                       .rule = rule,
                                       .capture = capture};
      continue;
    }
    watch.hits.fetch_add(1);
    if (const std::optional<Reason> reason = Judge(watch, hits.hits[i], now_ns)) {
      Suppress(watch, *reason);
      if (*reason == kCaptures && watch.options.on_budget == OnBudget::kDisarm && on_spent_ &&
          !watch.spent.exchange(true)) {
        on_spent_(index);
      }
      continue;
    }
    watch.admitted.fetch_add(1);
    pending.hits[pending.count++] = {.watch = index, .hit = hits.hits[i], .exit_ns = now_ns};
  }
}

absl::Duration FreezeCoordinator::BufferWait(const Pending& pending) const {
  absl::Duration wait = absl::ZeroDuration();
  for (int i = 0; i < pending.count; ++i) {
    const HitEvidence& hit = pending.hits[i];
    // What a rule wants happens once in a scheduler's life and moves a watch: worth a longer wait.
    if (hit.rule != nullptr) return kRuleWaits * options_.buffer_wait;
    if (watches_[hit.watch].options.queue_full == QueueFull::kBlock) wait = options_.buffer_wait;
  }
  return wait;
}

void FreezeCoordinator::SuppressUnqueued(const Pending& pending) {
  for (int i = 0; i < pending.count; ++i) {
    Watch& watch = watches_[pending.hits[i].watch];
    if (pending.hits[i].rule == nullptr) watch.admitted.fetch_sub(1);
    if (pending.hits[i].capture) Suppress(watch, kQueue);
  }
}

void FreezeCoordinator::OnHits(int vcpu, const WatchHits& hits) {
  const int64_t start_ns = MonotonicNs();
  Pending& pending = pending_[vcpu];
  Admit(hits, pending, start_ns);
  if (pending.count == 0) return;
  CaptureEvidence* evidence = pool_->TryAcquire();
  const absl::Duration wait = evidence == nullptr ? BufferWait(pending) : absl::ZeroDuration();
  if (evidence == nullptr && wait == absl::ZeroDuration()) return SuppressUnqueued(pending);
  pending.waiting.store(true);
  for (;;) {
    absl::StatusOr<FrozenVcpus> frozen = barrier_->TryLead(vcpu, options_.freeze_deadline);
    if (frozen.ok()) {
      // The renderer is behind: it is waited for with all vCPUs stopped, so that the guest's time can
      // stand still and no vCPU waits in vain for one that is kept here.
      if (evidence == nullptr) evidence = pool_->Acquire(wait);
      if (evidence == nullptr) {
        pending.waiting.store(false);
        frozen->Thaw();
        return SuppressUnqueued(pending);
      }
      evidence->kind = TriggerKind::kWatch;
      evidence->leader = vcpu;
      evidence->guest_counter = target_->GuestCounter(vcpu);
      evidence->start_ns = start_ns;
      CopyEvidence(*evidence);
      Finish(evidence, *std::move(frozen));
      return;
    }
    if (!absl::IsUnavailable(frozen.status())) {
      pending.waiting.store(false);
      LOG(ERROR) << frozen.status();
      for (int i = 0; i < pending.count; ++i) {
        if (pending.hits[i].capture) watches_[pending.hits[i].watch].lost.fetch_add(1);
      }
      if (evidence != nullptr) pool_->Release(evidence);
      return;
    }
    barrier_->Park(vcpu);
    if (!pending.waiting.load()) {  // the leader took these hits along
      if (evidence != nullptr) pool_->Release(evidence);
      return;
    }
  }
}

void FreezeCoordinator::CopyEvidence(CaptureEvidence& evidence) {
  evidence.frozen_ns = MonotonicNs();
  const StackSource* stacks = stacks_.load(std::memory_order_acquire);
  if (stacks != nullptr) stacks->BeginFreeze();
  for (size_t i = 0; i < evidence.registers.size(); ++i) {
    evidence.registers[i] = target_->Registers(static_cast<int>(i));
    if (stacks == nullptr) continue;
    evidence.stacks[i].Take(stacks->stack_extents(), evidence.registers[i].sp(),
                            [stacks](uint64_t kva, absl::Span<uint8_t> out) {
                              return stacks->CopyPrefix(kva, out);
                            });
  }
  if (evidence.kind == TriggerKind::kWatch) {
    // The leader's own first, then those of vCPUs that hit at the same time and parked.
    auto take = [&evidence](Pending& pending) {
      if (!pending.waiting.load()) return;
      for (int i = 0; i < pending.count; ++i) evidence.hits[evidence.hit_count++] = pending.hits[i];
      pending.waiting.store(false);
    };
    take(pending_[evidence.leader]);
    for (Pending& pending : pending_) take(pending);
    for (int i = 0; i < evidence.hit_count; ++i) evidence.watches.push_back(evidence.hits[i].watch);
  }
  CopyParts(evidence);
  evidence.evidence_ns = MonotonicNs();
  for (int i = 0; i < evidence.hit_count; ++i) {
    if (evidence.hits[i].rule != nullptr) evidence.hits[i].rule->WhileFrozen(evidence.hits[i].hit);
  }
}

void FreezeCoordinator::CopyParts(CaptureEvidence& evidence) {
  const EvidenceParts* parts = parts_.load(std::memory_order_acquire);
  if (parts == nullptr) return;
  evidence.parts = parts;
  const CaptureContext context = evidence.Context();
  if (parts->memory != stacks_.load(std::memory_order_relaxed)) parts->memory->BeginFreeze();
  recorder_.Begin(*parts->memory);
  for (const auto& part : parts->parts) part->Copy(context, recorder_);
  evidence.refused_bytes = recorder_.refused_bytes();
  evidence.block = recorder_.Commit();
}

void FreezeCoordinator::Finish(CaptureEvidence* evidence, FrozenVcpus frozen) {
  evidence->hidden_ns = frozen.Thaw();
  evidence->thawed_ns = MonotonicNs();
  const int64_t pause = evidence->thawed_ns - evidence->start_ns;
  // A freeze of several hits is charged to each watch concerned once.
  for (int i = 0; i < evidence->hit_count; ++i) {
    bool charged = false;
    for (int j = 0; j < i; ++j) charged |= evidence->hits[j].watch == evidence->hits[i].watch;
    if (!charged) watches_[evidence->hits[i].watch].budget.Spend(evidence->thawed_ns, pause);
  }
  pool_->Submit(evidence);
}

absl::Status FreezeCoordinator::Capture(TriggerKind kind, std::string_view tag) {
  CaptureEvidence* evidence = pool_->Acquire(options_.buffer_wait);
  if (evidence == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "capture '", tag, "': the renderer is behind and has all evidence buffers; take fewer captures"));
  }
  evidence->kind = kind;
  evidence->tag = std::string(tag);
  evidence->start_ns = MonotonicNs();
  absl::StatusOr<FrozenVcpus> frozen = barrier_->Freeze(options_.freeze_deadline);
  if (!frozen.ok()) {
    pool_->Release(evidence);
    return frozen.status();
  }
  evidence->guest_counter = target_->GuestCounter(-1);
  CopyEvidence(*evidence);
  Finish(evidence, *std::move(frozen));
  return absl::OkStatus();
}

WatchCounters FreezeCoordinator::counters(int index) const {
  const Watch& watch = watches_[index];
  WatchCounters counters;
  counters.armed = 1;
  counters.hits = watch.hits.load();
  counters.captured = watch.captured.load();
  int reason = 0;
  SuppressedBy::ForEach(counters.suppressed_by, [&](const char*, uint64_t& count) {
    count = watch.suppressed[reason++].load();
    counters.suppressed += count;
  });
  counters.disarmed = watch.disarmed.load();
  counters.lost = watch.lost.load();
  return counters;
}

}  // namespace watchsnap
