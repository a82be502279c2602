#include "devices/pci/pci_function.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/numeric/bits.h"
#include "devices/io_bytes.h"

namespace watchsnap {
namespace {

// Configuration header, type 0.
constexpr uint32_t kVendor = 0x00, kDevice = 0x02, kCommand = 0x04, kStatus = 0x06,
                   kRevision = 0x08, kCacheLine = 0x0c, kBar0 = 0x10, kSubsystemVendor = 0x2c,
                   kSubsystem = 0x2e, kInterruptLine = 0x3c;
constexpr uint16_t kCommandMemory = 1 << 1;
constexpr uint16_t kCommandMaster = 1 << 2;
constexpr uint16_t kCommandIntxDisable = 1 << 10;
constexpr uint16_t kStatusCapabilities = 1 << 4;
constexpr uint32_t kBarFlags = 0xf;

constexpr uint8_t kCapabilityMsix = 0x11;
constexpr uint16_t kMsixEnable = 1 << 15;
constexpr uint16_t kMsixFunctionMask = 1 << 14;

}  // namespace

PciFunction::PciFunction(DeviceHost& host, std::string name, const PciIdentity& identity)
    : host_(host), name_(std::move(name)) {
  absl::MutexLock lock(&mutex_);
  Store(kVendor, identity.vendor, 2);
  Store(kDevice, identity.device, 2);
  Store(kRevision, identity.revision | uint64_t{identity.class_code} << 8, 4);
  Store(kSubsystemVendor, identity.subsystem_vendor, 2);
  Store(kSubsystem, identity.subsystem, 2);
  SetWritable(kCommand, kCommandMemory | kCommandMaster | kCommandIntxDisable, 2);
  SetWritable(kCacheLine, 0xff, 1);
  SetWritable(kInterruptLine, 0xff, 1);
}

uint32_t PciFunction::Load32(uint32_t offset) const {
  uint32_t value;
  std::memcpy(&value, &config_[offset], sizeof value);
  return value;
}

void PciFunction::Store(uint32_t offset, uint64_t value, int bytes) {
  std::memcpy(&config_[offset], &value, bytes);
}

void PciFunction::SetWritable(uint32_t offset, uint64_t mask, int bytes) {
  std::memcpy(&writable_[offset], &mask, bytes);
}

void PciFunction::AddBar(int bar, uint32_t size, IoHandler* handler) {
  CHECK(bar >= 0 && bar < kBars && bars_[bar].size == 0) << name_ << ": BAR " << bar;
  CHECK(size >= 0x1000 && absl::has_single_bit(size)) << name_ << ": BAR size " << size;
  bars_[bar] = {size, handler};
  absl::MutexLock lock(&mutex_);
  SetWritable(kBar0 + 4 * bar, ~(size - 1) & ~kBarFlags, 4);
}

uint32_t PciFunction::AddCapability(uint8_t id, absl::Span<const uint8_t> body,
                                    absl::Span<const uint8_t> writable) {
  absl::MutexLock lock(&mutex_);
  const uint32_t offset = next_capability_;
  CHECK(offset + 2 + body.size() <= kConfigSize) << name_ << ": no room for capability " << int{id};
  CHECK(writable.empty() || writable.size() == body.size()) << name_;
  Store(last_link_, offset, 1);
  Store(kStatus, kStatusCapabilities, 2);
  Store(offset, id, 2);
  std::copy(body.begin(), body.end(), config_.begin() + offset + 2);
  std::copy(writable.begin(), writable.end(), writable_.begin() + offset + 2);
  last_link_ = offset + 1;
  next_capability_ = (offset + 2 + body.size() + 3) & ~uint32_t{3};
  return offset;
}

void PciFunction::AddMsix(Msix* msix, int bar) {
  AddBar(bar, Msix::kBarSize, msix);
  std::vector<uint8_t> body(10), writable(10);
  const uint16_t control = msix->vectors() - 1;
  const uint32_t table = bar, pending = static_cast<uint32_t>(Msix::kPbaOffset) | bar;
  std::memcpy(&body[0], &control, 2);
  std::memcpy(&body[2], &table, 4);
  std::memcpy(&body[6], &pending, 4);
  const uint16_t mask = kMsixEnable | kMsixFunctionMask;
  std::memcpy(&writable[0], &mask, 2);
  msix_offset_ = AddCapability(kCapabilityMsix, body, writable);
  msix_ = msix;
}

void PciFunction::PlaceBar(int bar, uint32_t gpa) {
  CHECK(bars_[bar].size != 0 && gpa % bars_[bar].size == 0) << name_ << ": BAR " << bar;
  absl::MutexLock lock(&mutex_);
  Store(kBar0 + 4 * bar, gpa, 4);
}

absl::Status PciFunction::EnableMemory() {
  absl::MutexLock lock(&mutex_);
  Store(kCommand, kCommandMemory, 2);
  return RemapBars();
}

absl::Status PciFunction::RemapBars() {
  const bool decoding = Load32(kCommand) & kCommandMemory;
  absl::Status first;
  for (int i = 0; i < kBars; ++i) {
    if (bars_[i].size == 0) continue;
    const uint64_t wanted = decoding ? Load32(kBar0 + 4 * i) & ~kBarFlags : 0;
    if (wanted == mapped_[i]) continue;
    if (mapped_[i] != 0) {
      OnBarUnmapped(i);
      host_.mmio().Remove(mapped_[i]);
      mapped_[i] = 0;
    }
    if (wanted == 0) continue;
    absl::Status status = host_.mmio().Insert(wanted, bars_[i].size, bars_[i].handler);
    if (status.ok()) {
      mapped_[i] = wanted;
      OnBarMapped(i, wanted);
    }
    first.Update(status);
  }
  return first;
}

void PciFunction::PeekConfig(uint32_t offset, absl::Span<uint8_t> data) const {
  CHECK_LE(offset + data.size(), kConfigSize);
  absl::ReaderMutexLock lock(&mutex_);
  std::copy_n(config_.begin() + offset, data.size(), data.begin());
}

void PciFunction::PokeConfig(uint32_t offset, absl::Span<const uint8_t> data) {
  CHECK_LE(offset + data.size(), kConfigSize);
  absl::MutexLock lock(&mutex_);
  std::copy(data.begin(), data.end(), config_.begin() + offset);
}

void PciFunction::ReadConfig(uint32_t offset, absl::Span<uint8_t> data) {
  absl::ReaderMutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    // Extended space exists on the bus and is empty.
    data[i] = offset + i < kConfigSize ? config_[offset + i] : 0;
  }
}

void PciFunction::WriteConfig(uint32_t offset, absl::Span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size() && offset + i < kConfigSize; ++i) {
    const uint8_t mask = writable_[offset + i];
    config_[offset + i] = (config_[offset + i] & ~mask) | (data[i] & mask);
  }
  const uint32_t end = offset + data.size();
  auto touches = [&](uint32_t from, uint32_t to) { return offset < to && end > from; };
  if (touches(kCommand, kCommand + 2) || touches(kBar0, kBar0 + 4 * kBars)) {
    if (absl::Status status = RemapBars(); !status.ok()) {
      LOG_FIRST_N(WARNING, 5) << name_ << ": the guest moved a BAR, now unreachable: " << status;
    }
  }
  if (msix_ != nullptr && touches(msix_offset_ + 2, msix_offset_ + 4)) {
    const uint16_t control = Load32(msix_offset_) >> 16;
    msix_->SetControl(control & kMsixEnable, control & kMsixFunctionMask);
  }
}

}  // namespace watchsnap
