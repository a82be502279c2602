#include "snapshot/capture/evidence.h"

#include "absl/log/check.h"

namespace watchsnap {

EvidencePool::EvidencePool(int buffers, int vcpus) : vcpus_(vcpus) {
  CHECK_GT(buffers, 0) << "an evidence pool needs a buffer";
  absl::MutexLock lock(&mutex_);
  for (int i = 0; i < buffers; ++i) {
    auto evidence = std::make_unique<CaptureEvidence>();
    evidence->hits.resize(static_cast<size_t>(vcpus) * WatchHits().hits.size());
    evidence->registers.resize(vcpus);
    evidence->stacks.resize(vcpus);
    free_.push_back(evidence.get());
    buffers_.push_back(std::move(evidence));
  }
}

CaptureEvidence* EvidencePool::TryAcquire() {
  absl::MutexLock lock(&mutex_);
  if (free_.empty()) return nullptr;
  CaptureEvidence* evidence = free_.back();
  free_.pop_back();
  evidence->hit_count = 0;
  evidence->leader = -1;
  return evidence;
}

void EvidencePool::Release(CaptureEvidence* evidence) {
  absl::MutexLock lock(&mutex_);
  free_.push_back(evidence);
}

void EvidencePool::Submit(CaptureEvidence* evidence) {
  absl::MutexLock lock(&mutex_);
  queue_.push_back(evidence);
  ++rendering_;
}

CaptureEvidence* EvidencePool::Take() {
  absl::MutexLock lock(&mutex_);
  auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return closed_ || !queue_.empty(); };
  mutex_.Await(absl::Condition(&ready));
  if (queue_.empty()) return nullptr;
  CaptureEvidence* evidence = queue_.front();
  queue_.pop_front();
  return evidence;
}

void EvidencePool::Rendered(CaptureEvidence* evidence) {
  absl::MutexLock lock(&mutex_);
  free_.push_back(evidence);
  --rendering_;
}

void EvidencePool::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

void EvidencePool::Drain() {
  absl::MutexLock lock(&mutex_);
  auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return rendering_ == 0; };
  mutex_.Await(absl::Condition(&idle));
}

}  // namespace watchsnap
