#include "snapshot/capture/evidence.h"

#include <algorithm>
#include <utility>

#include "absl/log/check.h"
#include "absl/time/clock.h"
#include "vmm/futex.h"

namespace watchsnap {
namespace {

constexpr absl::Duration kLinger = absl::Milliseconds(100);
constexpr absl::Duration kLookEvery = absl::Milliseconds(40);

}  // namespace

EvidencePool::EvidencePool(int buffers, int vcpus, std::unique_ptr<EvidenceRing> ring)
    : vcpus_(vcpus), ring_(std::move(ring)) {
  CHECK_GT(buffers, 0) << "an evidence pool needs a buffer";
  absl::MutexLock lock(&mutex_);
  for (int i = 0; i < buffers; ++i) {
    auto evidence = std::make_unique<CaptureEvidence>();
    evidence->hits.resize(static_cast<size_t>(vcpus) * WatchHits().hits.size());
    evidence->registers.resize(vcpus);
    evidence->stacks.resize(vcpus);
    evidence->watches.reserve(evidence->hits.size());
    free_.push_back(evidence.get());
    buffers_.push_back(std::move(evidence));
  }
}

CaptureEvidence* EvidencePool::TryAcquire() {
  absl::MutexLock lock(&mutex_);
  return free_.empty() || !RingHasRoom() ? nullptr : TakeFree();
}

CaptureEvidence* EvidencePool::Acquire(absl::Duration wait) {
  absl::MutexLock lock(&mutex_);
  auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return !free_.empty() && RingHasRoom();
  };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&ready), wait)) return nullptr;
  return TakeFree();
}

CaptureEvidence* EvidencePool::TakeFree() {
  CaptureEvidence* evidence = free_.back();
  free_.pop_back();
  evidence->hit_count = 0;
  evidence->leader = -1;
  evidence->parts = nullptr;
  evidence->block = {};
  evidence->refused_bytes = 0;
  evidence->watches.clear();
  evidence->tag.clear();
  return evidence;
}

bool EvidencePool::RingHasRoom() const {
  if (ring_ == nullptr || rendering_ == 0) return true;
  return ring_->Room() >= std::min(ring_->capacity() / 2, 2 * largest_);
}

void EvidencePool::Release(CaptureEvidence* evidence) {
  absl::MutexLock lock(&mutex_);
  free_.push_back(evidence);
}

void EvidencePool::Submit(CaptureEvidence* evidence) {
  {
    absl::MutexLock lock(&mutex_);
    queue_.push_back(evidence);
    ++rendering_;
    largest_ = std::max(largest_, evidence->block.size);
    if (4 * queue_.size() < buffers_.size() && RingHasRoom()) return;
  }
  LookNow();
}

void EvidencePool::LookNow() {
  look_.fetch_add(1);
  if (lingers_.load()) FutexWake(look_, 1);
}

CaptureEvidence* EvidencePool::TakeFilled() {
  if (queue_.empty()) return nullptr;
  CaptureEvidence* evidence = queue_.front();
  queue_.pop_front();
  return evidence;
}

CaptureEvidence* EvidencePool::TakeReady() {
  absl::MutexLock lock(&mutex_);
  return TakeFilled();
}

CaptureEvidence* EvidencePool::Take() {
  for (;;) {
    // Before the look at the queue: what comes after it ends the sleep below.
    const uint32_t seen = look_.load();
    {
      absl::MutexLock lock(&mutex_);
      if (queue_.empty() && !closed_ && absl::Now() >= linger_until_) {
        auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
          return closed_ || !queue_.empty();
        };
        mutex_.Await(absl::Condition(&ready));
      }
      if (CaptureEvidence* evidence = TakeFilled()) {
        linger_until_ = absl::Now() + kLinger;
        return evidence;
      }
      if (closed_) return nullptr;
    }
    lingers_.store(true);
    FutexWait(look_, seen, absl::Now() + kLookEvery);
    lingers_.store(false);
  }
}

void EvidencePool::Rendered(CaptureEvidence* evidence) {
  if (ring_ != nullptr) ring_->Free(evidence->block);
  absl::MutexLock lock(&mutex_);
  free_.push_back(evidence);
  --rendering_;
}

void EvidencePool::Close() {
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }
  LookNow();
}

}  // namespace watchsnap
