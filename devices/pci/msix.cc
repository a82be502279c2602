#include "devices/pci/msix.h"

#include <utility>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "devices/io_bytes.h"

namespace watchsnap {
namespace {

constexpr uint64_t kEntrySize = 16;
constexpr uint64_t kAddressLow = 0, kAddressHigh = 4, kData = 8;  // at 12, the control word
constexpr uint32_t kControlMasked = 1;

}  // namespace

absl::StatusOr<std::unique_ptr<Msix>> Msix::Create(DeviceHost& host, std::string_view device,
                                                   int vectors) {
  CHECK(vectors > 0 && vectors <= kMaxVectors) << device << ": " << vectors << " MSI-X vectors";
  auto msix = std::unique_ptr<Msix>(new Msix(absl::StrCat(device, ".msix"), vectors));
  absl::MutexLock lock(&msix->mutex_);
  for (Vector& vector : msix->vectors_) {
    absl::StatusOr<std::unique_ptr<MsiInterrupt>> interrupt = host.CreateMsiInterrupt();
    if (!interrupt.ok()) return interrupt.status();
    vector.interrupt = *std::move(interrupt);
  }
  return msix;
}

bool Msix::Deliverable(const Vector& vector) const {
  return enabled_ && !function_masked_ && !vector.masked;
}

void Msix::Settle(Vector& vector) {
  if (!Deliverable(vector)) return;
  if (!vector.routed) {
    absl::Status status = vector.interrupt->SetMessage(vector.address, vector.data);
    vector.broken = !status.ok();
    vector.routed = true;  // not tried again until the guest writes another message
    if (vector.broken) {
      LOG_FIRST_N(WARNING, 5) << name_ << ": the guest's MSI message cannot be routed: " << status;
    }
  }
  if (vector.pending) {
    vector.pending = false;
    if (!vector.broken) vector.interrupt->Trigger();
  }
}

void Msix::SetControl(bool enabled, bool function_masked) {
  absl::MutexLock lock(&mutex_);
  enabled_ = enabled;
  function_masked_ = function_masked;
  for (Vector& vector : vectors_) Settle(vector);
}

bool Msix::enabled() const {
  absl::MutexLock lock(&mutex_);
  return enabled_;
}

void Msix::Trigger(int vector) {
  absl::MutexLock lock(&mutex_);
  if (vector < 0 || vector >= vector_count_ || !enabled_) return;
  vectors_[vector].pending = true;
  Settle(vectors_[vector]);
}

uint32_t Msix::ReadWord(uint64_t offset) const {
  if (offset < vectors_.size() * kEntrySize) {
    const Vector& vector = vectors_[offset / kEntrySize];
    switch (offset % kEntrySize) {
      case kAddressLow:
        return static_cast<uint32_t>(vector.address);
      case kAddressHigh:
        return static_cast<uint32_t>(vector.address >> 32);
      case kData:
        return vector.data;
      default:
        return vector.masked ? kControlMasked : 0;
    }
  }
  uint32_t bits = 0;
  if (offset >= kPbaOffset) {
    const uint64_t first = (offset - kPbaOffset) * 8;
    for (uint64_t i = 0; i < 32 && first + i < vectors_.size(); ++i) {
      if (vectors_[first + i].pending) bits |= uint32_t{1} << i;
    }
  }
  return bits;
}

void Msix::WriteWord(uint64_t offset, uint32_t value) {
  if (offset >= vectors_.size() * kEntrySize) return;  // past the table, or the read-only PBA
  Vector& vector = vectors_[offset / kEntrySize];
  switch (offset % kEntrySize) {
    case kAddressLow:
      vector.address = (vector.address & ~uint64_t{0xffff'ffff}) | (value & ~uint32_t{3});
      vector.routed = false;
      break;
    case kAddressHigh:
      vector.address = (vector.address & 0xffff'ffff) | uint64_t{value} << 32;
      vector.routed = false;
      break;
    case kData:
      vector.data = value;
      vector.routed = false;
      break;
    default:
      vector.masked = (value & kControlMasked) != 0;
      break;
  }
}

void Msix::Read(uint64_t offset, absl::Span<uint8_t> data) {
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) return StoreOnes(data);
  absl::ReaderMutexLock lock(&mutex_);
  uint64_t value = ReadWord(offset);
  if (data.size() == 8) value |= uint64_t{ReadWord(offset + 4)} << 32;
  StoreLittleEndian(value, data);
}

void Msix::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) return;
  absl::MutexLock lock(&mutex_);
  const uint64_t value = LoadLittleEndian(data);
  WriteWord(offset, static_cast<uint32_t>(value));
  if (data.size() == 8) WriteWord(offset + 4, static_cast<uint32_t>(value >> 32));
  // Both halves first: a message must not be routed half-written by one access.
  if (offset < vectors_.size() * kEntrySize) Settle(vectors_[offset / kEntrySize]);
}

}  // namespace watchsnap
