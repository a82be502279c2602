// GuestDriverFake: acts a guest's virtio driver against a device on the PCI bus of a
// DeviceHostFake, through configuration space, BARs, doorbells and rings in guest memory, and
// nothing else.
//
// For tests: a step that cannot work at all is a CHECK. One thread.
#ifndef WATCHSNAP_DEVICES_VIRTIO_GUEST_DRIVER_FAKE_H_
#define WATCHSNAP_DEVICES_VIRTIO_GUEST_DRIVER_FAKE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/device_host_fake.h"

namespace watchsnap {

class GuestDriverFake {
 public:
  struct Used {
    uint32_t head;
    uint32_t written;
  };
  struct RingAddresses {
    uint64_t desc, driver, device, buffers;
    uint16_t size;
  };
  // Common configuration, by offset.
  enum Field : uint32_t {
    kDeviceFeatureSelect = 0, kDeviceFeature = 4, kDriverFeatureSelect = 8, kDriverFeature = 12,
    kConfigVector = 16, kNumQueues = 18, kStatus = 20, kQueueSelect = 22, kQueueSize = 24,
    kQueueVector = 26, kQueueEnable = 28, kNotifyOff = 30, kDesc = 32, kDriver = 40, kDevice = 48,
  };
  static constexpr uint64_t kBufferSize = 4096;

  // Takes 64 KiB of guest memory for each queue from `arena` on.
  GuestDriverFake(DeviceHostFake& host, int slot, uint64_t arena = 0x10000);

  // Configuration space.
  uint32_t Config(uint32_t offset, size_t width = 4);
  void SetConfig(uint32_t offset, uint32_t value, size_t width = 4);
  uint32_t FindCapability(uint8_t id, int virtio_type = 0);

  // The structures.
  uint64_t Common(Field field, size_t width);
  void SetCommon(Field field, size_t width, uint64_t value);
  uint64_t common_gpa() const { return common_; }
  uint64_t notify_gpa(uint16_t queue);
  uint64_t isr_gpa() const { return isr_; }
  uint64_t device_config_gpa() const { return device_config_; }
  uint64_t msix_gpa() const { return msix_; }
  uint8_t status() { return static_cast<uint8_t>(Common(kStatus, 1)); }
  uint64_t OfferedFeatures();

  // From reset to DRIVER_OK with all queues, MSI-X vector `queue + 1` sending data 0x40 + queue +
  // 1. `features` is what to accept; VERSION_1 is added.
  void Start(uint64_t features = 0);
  void Reset() { SetCommon(kStatus, 1, 0); }

  // Rings. A buffer is one descriptor each, head == its number, reused round robin.
  const RingAddresses& ring(uint16_t queue) { return rings_.at(queue); }
  // Offers `bytes` for the device to read.
  void Offer(uint16_t queue, std::string_view bytes);
  // Offers room for the device to write.
  void OfferRoom(uint16_t queue, uint32_t length = kBufferSize);
  void Notify(uint16_t queue) { host_.WriteMmio(notify_gpa(queue), 2, queue); }
  // The next buffer that the device gave back.
  std::optional<Used> TakeUsed(uint16_t queue);
  // Its bytes, as text.
  std::string Bytes(uint16_t queue, const Used& used);

 private:
  void SetUpQueue(uint16_t queue);
  void Add(uint16_t queue, uint32_t length, uint16_t flags, std::string_view bytes);
  template <typename T>
  void Put(uint64_t gpa, T value) {
    CHECK_OK(host_.memory().WriteObject(gpa, value));
  }
  template <typename T>
  T Get(uint64_t gpa) {
    auto value = host_.memory().ReadObject<T>(gpa);
    CHECK(value.ok()) << value.status();
    return *value;
  }

  DeviceHostFake& host_;
  const uint64_t config_;
  const uint64_t arena_;
  uint64_t common_ = 0, notify_ = 0, isr_ = 0, device_config_ = 0, msix_ = 0;
  uint32_t notify_multiplier_ = 0;
  std::map<uint16_t, RingAddresses> rings_;
  std::map<uint16_t, uint16_t> available_, used_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_GUEST_DRIVER_FAKE_H_
