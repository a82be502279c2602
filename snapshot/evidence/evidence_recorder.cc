#include "snapshot/evidence/evidence_recorder.h"

#include <cstring>

#include "absl/log/check.h"

namespace watchsnap {

void EvidenceRecorder::Begin(const FrozenMemory& memory) {
  memory_ = &memory;
  near_ = {};
  room_ = ring_->Begin();
  used_ = 0;
  refused_bytes_ = 0;
}

EvidenceBlock EvidenceRecorder::Commit() {
  CHECK(memory_ != nullptr) << "Commit without Begin";
  memory_ = nullptr;
  return ring_->Commit(used_);
}

const uint8_t* EvidenceRecorder::Record(uint64_t kva, uint64_t length, uint64_t& copied) {
  copied = 0;
  const size_t left = room_.size() - used_;
  // With room for the padding too.
  if (left < sizeof(EvidenceRecord) + 8 || length > left - sizeof(EvidenceRecord) - 8) {
    refused_bytes_ += length;
    return nullptr;
  }
  uint8_t* at = room_.data() + used_;
  uint8_t* bytes = at + sizeof(EvidenceRecord);
  const uint64_t within = kva - near_.va;
  if (within < near_.size && length <= near_.size - within) {
    std::memcpy(bytes, near_.host + within, length);
    copied = length;
  } else {
    copied = memory_->CopyPrefix(kva, absl::MakeSpan(bytes, length));
    near_ = memory_->PieceAt(kva);
  }
  if (copied == 0) return nullptr;
  const EvidenceRecord record = {.kva = kva, .length = copied};
  std::memcpy(at, &record, sizeof record);
  used_ += sizeof record + record.padded();
  return bytes;
}

bool EvidenceRecorder::Read(uint64_t kva, absl::Span<uint8_t> out) {
  uint64_t copied = 0;
  const uint8_t* bytes = Record(kva, out.size(), copied);
  if (bytes == nullptr || copied < out.size()) return out.empty();
  std::memcpy(out.data(), bytes, out.size());
  return true;
}

uint64_t EvidenceRecorder::Take(uint64_t kva, uint64_t length) {
  uint64_t copied = 0;
  Record(kva, length, copied);
  return copied;
}

}  // namespace watchsnap
