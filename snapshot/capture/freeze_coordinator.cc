#include "snapshot/capture/freeze_coordinator.h"

#include <time.h>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace watchsnap {
namespace {

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

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
  watch.hits = watch.admitted = watch.captured = watch.suppressed = watch.lost = 0;
  watch.said_suppressed = false;
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

void FreezeCoordinator::Suppress(Watch& watch, std::string_view why) {
  watch.suppressed.fetch_add(1);
  if (watch.said_suppressed.exchange(true)) return;
  LOG(WARNING) << "watch " << watch.description.symbol << ": " << why
               << ": from here on such hits are counted as suppressed, without a capture";
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
    if (hits.hits[i].count_only) {
      watch.suppressed.fetch_add(1);
      continue;
    }
    if (watch.admitted.load() >= watch.options.max_captures) {
      Suppress(watch, "its budget of captures is used up");
      continue;
    }
    if (!watch.budget.Allows(now_ns)) {
      Suppress(watch, "it kept the guest frozen for as much of a second as its budget allows");
      continue;
    }
    watch.admitted.fetch_add(1);
    pending.hits[pending.count++] = {.watch = index, .hit = hits.hits[i], .exit_ns = now_ns};
  }
}

CaptureEvidence* FreezeCoordinator::AcquireBuffer(int vcpu) {
  CaptureEvidence* evidence = pool_->TryAcquire();
  if (evidence != nullptr) return evidence;
  // The renderer is behind. Nothing is frozen here; park for others meanwhile.
  const absl::Time until = absl::Now() + options_.buffer_wait;
  while (evidence == nullptr && absl::Now() < until) {
    absl::SleepFor(absl::Microseconds(200));
    barrier_->Park(vcpu);
    evidence = pool_->TryAcquire();
  }
  return evidence;
}

bool FreezeCoordinator::HasRule(const Pending& pending) {
  for (int i = 0; i < pending.count; ++i) {
    if (pending.hits[i].rule != nullptr) return true;
  }
  return false;
}

void FreezeCoordinator::OnHits(int vcpu, const WatchHits& hits) {
  const int64_t start_ns = NowNs();
  Pending& pending = pending_[vcpu];
  Admit(hits, pending, start_ns);
  if (pending.count == 0) return;
  CaptureEvidence* evidence = AcquireBuffer(vcpu);
  // What a rule wants happens once in a scheduler's life and moves a watch: worth a longer wait.
  for (int i = 0; i < kRuleWaits && evidence == nullptr && HasRule(pending); ++i) {
    evidence = AcquireBuffer(vcpu);
  }
  if (evidence == nullptr) {
    for (int i = 0; i < pending.count; ++i) {
      Watch& watch = watches_[pending.hits[i].watch];
      if (pending.hits[i].rule == nullptr) watch.admitted.fetch_sub(1);
      Suppress(watch, "captures come faster than they are rendered");
    }
    return;
  }
  pending.waiting.store(true);
  for (;;) {
    absl::StatusOr<FrozenVcpus> frozen = barrier_->TryLead(vcpu, options_.freeze_deadline);
    if (frozen.ok()) {
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
      pool_->Release(evidence);
      return;
    }
    barrier_->Park(vcpu);
    if (!pending.waiting.load()) {  // the leader took these hits along
      pool_->Release(evidence);
      return;
    }
  }
}

void FreezeCoordinator::CopyEvidence(CaptureEvidence& evidence) {
  evidence.frozen_ns = NowNs();
  const StackSource* stacks = stacks_.load(std::memory_order_acquire);
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
  evidence.evidence_ns = NowNs();
  for (int i = 0; i < evidence.hit_count; ++i) {
    if (evidence.hits[i].rule != nullptr) evidence.hits[i].rule->WhileFrozen(evidence.hits[i].hit);
  }
}

void FreezeCoordinator::CopyParts(CaptureEvidence& evidence) {
  const EvidenceParts* parts = parts_.load(std::memory_order_acquire);
  if (parts == nullptr) return;
  evidence.parts = parts;
  const CaptureContext context = evidence.Context();
  recorder_.Begin(*parts->memory);
  for (const auto& part : parts->parts) part->Copy(context, recorder_);
  evidence.refused_bytes = recorder_.refused_bytes();
  evidence.block = recorder_.Commit();
}

void FreezeCoordinator::Finish(CaptureEvidence* evidence, FrozenVcpus frozen) {
  evidence->hidden_ns = frozen.Thaw();
  evidence->thawed_ns = NowNs();
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
  CaptureEvidence* evidence = pool_->TryAcquire();
  const absl::Time until = absl::Now() + options_.buffer_wait;
  while (evidence == nullptr && absl::Now() < until) {
    absl::SleepFor(absl::Milliseconds(1));
    evidence = pool_->TryAcquire();
  }
  if (evidence == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "capture '", tag, "': the renderer is behind and has all evidence buffers; take fewer captures"));
  }
  evidence->kind = kind;
  evidence->tag = std::string(tag);
  evidence->start_ns = NowNs();
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
  counters.suppressed = watch.suppressed.load();
  counters.lost = watch.lost.load();
  return counters;
}

}  // namespace watchsnap
