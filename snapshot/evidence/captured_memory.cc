#include "snapshot/evidence/captured_memory.h"

#include <algorithm>
#include <cstring>

#include "absl/log/check.h"
#include "snapshot/evidence/evidence_recorder.h"

namespace watchsnap {

CapturedMemory::CapturedMemory(absl::Span<const uint8_t> block) {
  for (size_t at = 0; at < block.size();) {
    EvidenceRecord record;
    CHECK_LE(sizeof record, block.size() - at) << "evidence ends in a record";
    std::memcpy(&record, block.data() + at, sizeof record);
    at += sizeof record;
    CHECK_LE(record.padded(), block.size() - at) << "evidence ends in a record's bytes";
    regions_.push_back({.kva = record.kva, .length = record.length, .bytes = block.data() + at});
    at += record.padded();
  }
  std::sort(regions_.begin(), regions_.end(),
            [](const Region& a, const Region& b) { return a.kva < b.kva; });
  for (size_t i = 0; i < regions_.size(); ++i) {
    const size_t before = i == 0 ? 0 : regions_[i - 1].longest;
    const auto end = [this](size_t j) { return regions_[j].kva + regions_[j].length; };
    regions_[i].longest = end(before) > end(i) ? before : i;
  }
}

absl::Span<const uint8_t> CapturedMemory::Find(uint64_t kva) const {
  auto after = std::upper_bound(regions_.begin(), regions_.end(), kva,
                                [](uint64_t at, const Region& region) { return at < region.kva; });
  if (after == regions_.begin()) return {};
  const Region& region = regions_[std::prev(after)->longest];
  const uint64_t offset = kva - region.kva;
  if (offset >= region.length) return {};
  return {region.bytes + offset, region.length - offset};
}

bool CapturedMemory::Read(uint64_t kva, absl::Span<uint8_t> out) {
  while (!out.empty()) {
    const absl::Span<const uint8_t> found = Find(kva);
    if (found.empty()) return false;
    const size_t size = std::min(found.size(), out.size());
    std::memcpy(out.data(), found.data(), size);
    kva += size;
    out.remove_prefix(size);
  }
  return true;
}

uint64_t CapturedMemory::Take(uint64_t kva, uint64_t length) {
  uint64_t taken = 0;
  while (taken < length) {
    const absl::Span<const uint8_t> found = Find(kva + taken);
    if (found.empty()) break;
    taken += std::min<uint64_t>(found.size(), length - taken);
  }
  return taken;
}

}  // namespace watchsnap
