#include "debug/stacks/stack_copy.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/log/check.h"

namespace watchsnap {

StackCopy::StackCopy() {
  void* pages =
      mmap(nullptr, kCapacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  PCHECK(pages != MAP_FAILED) << "mapping " << kCapacity << " bytes for a copy of a stack";
  // Neighbours become one area, whose first touch would else take 2 MiB where huge pages are always used.
  madvise(pages, kCapacity, MADV_NOHUGEPAGE);
  buffer_.reset(static_cast<uint8_t*>(pages));
}

void StackCopy::Unmap::operator()(uint8_t* pages) const { munmap(pages, kCapacity); }

void StackCopy::Take(const StackExtents& extents, uint64_t sp, Copier copy) {
  used_ = 0;
  count_ = 0;
  while (count_ < kMaxParts && used_ < kCapacity) {
    const StackExtent extent = extents.Find(sp);
    if (extent.kind == StackExtent::Kind::kNone) return;
    // A stack that was copied already: the guest's stacks lead in a circle.
    for (const Part& part : parts()) {
      if (sp >= part.kva && sp < part.kva + part.size) return;
    }
    const size_t wanted = std::min<size_t>(extent.end - sp, kCapacity - used_);
    const size_t got = std::min(wanted, copy(sp, absl::MakeSpan(buffer_.get() + used_, wanted)));
    if (got == 0) return;
    parts_[count_++] = {.kva = sp, .offset = used_, .size = got};
    used_ += got;
    if (extent.previous_sp_at == 0) return;
    uint64_t word = 0;
    // The current privilege level in CS: 3 is user space.
    if (extent.previous_cs_at != 0 && (!ReadWord(extent.previous_cs_at, word) || (word & 3) == 3))
      return;
    if (!ReadWord(extent.previous_sp_at, sp)) return;
  }
}

bool StackCopy::ReadWord(uint64_t kva, uint64_t& word) const {
  return Read(kva, absl::MakeSpan(reinterpret_cast<uint8_t*>(&word), sizeof word));
}

bool StackCopy::Read(uint64_t kva, absl::Span<uint8_t> out) const {
  for (const Part& part : parts()) {
    if (kva < part.kva || kva - part.kva > part.size || out.size() > part.size - (kva - part.kva))
      continue;
    std::memcpy(out.data(), buffer_.get() + part.offset + (kva - part.kva), out.size());
    return true;
  }
  return false;
}

}  // namespace watchsnap
