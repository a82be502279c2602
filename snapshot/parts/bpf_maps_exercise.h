// Does with any bytes, taken as a guest's memory, what captures do with BPF maps. For the mutation test
// and the fuzzer; a sanitizer watches. Testonly.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_BPF_MAPS_EXERCISE_H_
#define WATCHSNAP_SNAPSHOT_PARTS_BPF_MAPS_EXERCISE_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/log/check.h"
#include "absl/types/span.h"
#include "debug/kernel/bpf_kernel_fake.h"
#include "snapshot/parts/bpf_maps_part.h"
#include "snapshot/report/report.h"

namespace watchsnap {

// Every kernel address holds something: bytes of the input, and pointers into the same.
class HostileMemory : public MemoryReader {
 public:
  explicit HostileMemory(absl::Span<const uint8_t> bytes) : bytes_(bytes) {}
  bool Read(uint64_t kva, absl::Span<uint8_t> out) override {
    ++asked;
    if (bytes_.empty() || kva % 61 == 7) return false;
    for (size_t i = 0; i < out.size(); ++i) out[i] = bytes_[(kva + i) % bytes_.size()];
    return true;
  }
  uint64_t Take(uint64_t kva, uint64_t length) override {
    ++asked;
    taken += length;
    return kva % 53 == 5 ? length / 2 : length;
  }
  uint64_t asked = 0;
  uint64_t taken = 0;

 private:
  const absl::Span<const uint8_t> bytes_;
};

inline BpfLimits ExerciseLimits() {
  return {.max_maps = 8, .max_entries = 50, .max_map_bytes = 20'000, .max_total_bytes = 60'000,
          .max_btf_bytes = 4096};
}

// Copies and renders, twice: the second time with what was kept of the first.
inline void ExerciseBpfMaps(BpfMapsPart& part, MemoryReader& memory) {
  for (int i = 0; i < 2; ++i) {
    part.Copy({}, memory);
    Report report;
    part.Render({}, memory, report);
    const std::string* maps = FindMember(report.more, "maps");
    CHECK(maps != nullptr);
    CHECK_LE(maps->size(), 20'000'000u);
    CHECK_LE(report.degraded.size(), 1000u);
  }
}

inline void ExerciseHostileMemory(absl::Span<const uint8_t> bytes) {
  static const BpfKernelFake& kernel = *new BpfKernelFake;
  const BpfLimits limits = ExerciseLimits();
  BpfMapsPart part(kernel.types(), kernel.map_idr(), kernel.per_cpu(), limits);
  HostileMemory memory(bytes);
  part.Copy({}, memory);
  // A frozen guest waits meanwhile: some 10 questions an entry, a node or a bucket of a table.
  CHECK_LE(memory.asked, 200'000u);
  CHECK_LE(memory.taken, limits.max_total_bytes + limits.max_maps * limits.max_btf_bytes);
  ExerciseBpfMaps(part, memory);
}

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_BPF_MAPS_EXERCISE_H_
