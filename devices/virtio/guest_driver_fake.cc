#include "devices/virtio/guest_driver_fake.h"

#include <algorithm>

#include "absl/log/check.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {
constexpr uint64_t kVersion1 = uint64_t{1} << 32;
constexpr uint16_t kWrite = 2;
constexpr uint64_t kArenaPerQueue = 0x10000;
constexpr uint16_t kRingSize = 8;
}  // namespace

GuestDriverFake::GuestDriverFake(DeviceHostFake& host, int slot, uint64_t arena)
    : host_(host), config_(layout::kPciEcamBase + slot * 0x8000), arena_(arena) {
  auto structure = [&](int type) {
    const uint32_t at = FindCapability(0x09, type);
    CHECK_NE(at, 0u) << "no virtio capability of type " << type;
    return Config(0x10 + 4 * Config(at + 4, 1)) + uint64_t{Config(at + 8)};
  };
  common_ = structure(1);
  notify_ = structure(2);
  isr_ = structure(3);
  device_config_ = structure(4);
  notify_multiplier_ = Config(FindCapability(0x09, 2) + 16);
  const uint32_t msix = FindCapability(0x11);
  CHECK_NE(msix, 0u);
  msix_ = Config(0x10 + 4 * (Config(msix + 4) & 7));
}

uint32_t GuestDriverFake::Config(uint32_t offset, size_t width) {
  return static_cast<uint32_t>(host_.ReadMmio(config_ + offset, width));
}

void GuestDriverFake::SetConfig(uint32_t offset, uint32_t value, size_t width) {
  host_.WriteMmio(config_ + offset, width, value);
}

uint32_t GuestDriverFake::FindCapability(uint8_t id, int virtio_type) {
  for (uint32_t at = Config(0x34, 1); at != 0; at = Config(at + 1, 1)) {
    if (Config(at, 1) == id && (id != 0x09 || Config(at + 3, 1) == uint32_t(virtio_type))) {
      return at;
    }
  }
  return 0;
}

uint64_t GuestDriverFake::Common(Field field, size_t width) {
  return host_.ReadMmio(common_ + field, width);
}

void GuestDriverFake::SetCommon(Field field, size_t width, uint64_t value) {
  host_.WriteMmio(common_ + field, width, value);
}

uint64_t GuestDriverFake::notify_gpa(uint16_t queue) {
  SetCommon(kQueueSelect, 2, queue);
  return notify_ + Common(kNotifyOff, 2) * notify_multiplier_;
}

uint64_t GuestDriverFake::OfferedFeatures() {
  SetCommon(kDeviceFeatureSelect, 4, 0);
  const uint64_t low = Common(kDeviceFeature, 4);
  SetCommon(kDeviceFeatureSelect, 4, 1);
  return low | Common(kDeviceFeature, 4) << 32;
}

void GuestDriverFake::Start(uint64_t features) {
  Reset();
  rings_.clear();
  available_.clear();
  used_.clear();
  SetCommon(kStatus, 1, 1);
  SetCommon(kStatus, 1, 3);
  features |= kVersion1;
  SetCommon(kDriverFeatureSelect, 4, 0);
  SetCommon(kDriverFeature, 4, features & 0xffff'ffff);
  SetCommon(kDriverFeatureSelect, 4, 1);
  SetCommon(kDriverFeature, 4, features >> 32);
  SetCommon(kStatus, 1, 11);
  CHECK_EQ(status(), 11) << "the device refused features " << features;
  const uint32_t msix = FindCapability(0x11);
  SetConfig(msix + 2, 0x8000, 2);
  const uint16_t queues = static_cast<uint16_t>(Common(kNumQueues, 2));
  for (int vector = 0; vector <= queues; ++vector) {
    host_.WriteMmio(msix_ + 16 * vector, 4, 0xfee0'0000);
    host_.WriteMmio(msix_ + 16 * vector + 8, 4, 0x40 + vector);
    host_.WriteMmio(msix_ + 16 * vector + 12, 4, 0);
  }
  SetCommon(kConfigVector, 2, 0);
  for (uint16_t queue = 0; queue < queues; ++queue) SetUpQueue(queue);
  SetCommon(kStatus, 1, 15);
}

void GuestDriverFake::SetUpQueue(uint16_t queue) {
  const uint64_t base = arena_ + queue * kArenaPerQueue;
  rings_[queue] = {base, base + 0x400, base + 0x800, base + 0x1000, kRingSize};
  const std::vector<uint8_t> zeros(0x1000);
  CHECK_OK(host_.memory().Write(base, zeros));
  SetCommon(kQueueSelect, 2, queue);
  SetCommon(kQueueSize, 2, kRingSize);
  SetCommon(kQueueVector, 2, queue + 1);
  SetCommon(kDesc, 8, rings_[queue].desc);
  SetCommon(kDriver, 8, rings_[queue].driver);
  SetCommon(kDevice, 8, rings_[queue].device);
  SetCommon(kQueueEnable, 2, 1);
}

void GuestDriverFake::Add(uint16_t queue, uint32_t length, uint16_t flags, std::string_view bytes) {
  const RingAddresses& ring = rings_.at(queue);
  uint16_t& available = available_[queue];
  const uint16_t index = available % ring.size;
  const uint64_t buffer = ring.buffers + index * kBufferSize;
  if (!bytes.empty()) {
    CHECK_OK(host_.memory().Write(
        buffer, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())));
  }
  Put<uint64_t>(ring.desc + 16 * index, buffer);
  Put<uint32_t>(ring.desc + 16 * index + 8, length);
  Put<uint16_t>(ring.desc + 16 * index + 12, flags);
  Put<uint16_t>(ring.desc + 16 * index + 14, 0);
  Put<uint16_t>(ring.driver + 4 + 2 * index, index);
  // The device's thread acquires this.
  auto* shared = reinterpret_cast<uint16_t*>(host_.memory().HostAddress(ring.driver + 2, 2));
  __atomic_store_n(shared, ++available, __ATOMIC_RELEASE);
}

void GuestDriverFake::Offer(uint16_t queue, std::string_view bytes) {
  CHECK_LE(bytes.size(), kBufferSize);
  Add(queue, static_cast<uint32_t>(bytes.size()), 0, bytes);
}

void GuestDriverFake::OfferRoom(uint16_t queue, uint32_t length) { Add(queue, length, kWrite, {}); }

std::optional<GuestDriverFake::Used> GuestDriverFake::TakeUsed(uint16_t queue) {
  const RingAddresses& ring = rings_.at(queue);
  auto* shared = reinterpret_cast<uint16_t*>(host_.memory().HostAddress(ring.device + 2, 2));
  uint16_t& used = used_[queue];
  if (__atomic_load_n(shared, __ATOMIC_ACQUIRE) == used) return std::nullopt;
  const uint64_t entry = ring.device + 4 + 8 * (used++ % ring.size);
  return Used{Get<uint32_t>(entry), Get<uint32_t>(entry + 4)};
}

std::string GuestDriverFake::Bytes(uint16_t queue, const Used& used) {
  std::string bytes(std::min<uint64_t>(used.written, kBufferSize), '\0');
  CHECK_OK(host_.memory().Read(
      rings_.at(queue).buffers + used.head * kBufferSize,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size())));
  return bytes;
}

}  // namespace watchsnap
