// VirtioDeviceConformance: what every virtio device must pass, whatever its driver does: hostile
// rings and descriptors from a fixed seed, through the real transport.
//
//   INSTANTIATE_TEST_SUITE_P(Rng, VirtioDeviceConformance,
//       testing::Values(VirtioDeviceCase{"rng", [] { return std::make_unique<VirtioRng>(); }}),
//       VirtioDeviceCaseName);
//
// Shows memory errors under AddressSanitizer, races under ThreadSanitizer.
#ifndef WATCHSNAP_DEVICES_VIRTIO_VIRTIO_DEVICE_CONFORMANCE_H_
#define WATCHSNAP_DEVICES_VIRTIO_VIRTIO_DEVICE_CONFORMANCE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "absl/synchronization/notification.h"
#include "devices/device_host_fake.h"
#include "devices/pci/pci_bus.h"
#include "devices/virtio/guest_driver_fake.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtio_pci.h"
#include "gtest/gtest.h"

namespace watchsnap {

struct VirtioDeviceCase {
  std::string name;
  std::function<std::unique_ptr<VirtioDevice>()> make;
};

inline std::string VirtioDeviceCaseName(const testing::TestParamInfo<VirtioDeviceCase>& info) {
  return info.param.name;
}

class VirtioDeviceConformance : public testing::TestWithParam<VirtioDeviceCase> {
 protected:
  static constexpr uint64_t kMemory = 4 << 20;
  static constexpr uint8_t kLive = 15, kNeedsReset = 64;

  VirtioDeviceConformance() {
    CHECK_OK(host_.Plug([](DeviceHost& host) {
      return PciBus::Create(
          host, {[](DeviceHost& h) { return VirtioPci::Create(h, GetParam().make()); }});
    }));
    driver_ = std::make_unique<GuestDriverFake>(host_, 1);
    queues_ = static_cast<int>(driver_->Common(GuestDriverFake::kNumQueues, 2));
    features_ = driver_->OfferedFeatures();
  }

  // Addresses that a bounds check is likely to get wrong, and some that are right.
  uint64_t SomeAddress() {
    switch (random_() % 6) {
      case 0:
        return kMemory - random_() % 64;
      case 1:
        return ~uint64_t{0} - random_() % 64;
      case 2:
        return random_();
      default:
        return random_() % (kMemory - 0x100000) & ~uint64_t{random_() % 16};
    }
  }
  uint32_t SomeLength() {
    switch (random_() % 6) {
      case 0:
        return 0;
      case 1:
        return 0xffffffff - random_() % 64;
      case 2:
        return static_cast<uint32_t>(random_());
      default:
        return random_() % 5000;
    }
  }
  uint16_t SomeIndex() { return random_() % 16 ? random_() % 9 : random_(); }

  void ScrambleQueue(uint16_t queue) {
    const GuestDriverFake::RingAddresses& ring = driver_->ring(queue);
    GuestMemory& memory = host_.memory();
    for (int i = 0; i < ring.size; ++i) {
      const uint64_t at = ring.desc + 16 * i;
      CHECK_OK(memory.WriteObject<uint64_t>(at, SomeAddress()));
      CHECK_OK(memory.WriteObject<uint32_t>(at + 8, SomeLength()));
      CHECK_OK(memory.WriteObject<uint16_t>(at + 12, random_() % 8));
      CHECK_OK(memory.WriteObject<uint16_t>(at + 14, SomeIndex()));
      CHECK_OK(memory.WriteObject<uint16_t>(ring.driver + 4 + 2 * i, SomeIndex()));
    }
    CHECK_OK(memory.WriteObject<uint16_t>(ring.driver, random_()));
    auto index = memory.ReadObject<uint16_t>(ring.driver + 2);
    CHECK_OK(memory.WriteObject<uint16_t>(ring.driver + 2, *index + SomeIndex()));
  }

  std::mt19937_64 random_;
  DeviceHostFake host_;
  std::unique_ptr<GuestDriverFake> driver_;
  int queues_ = 0;
  uint64_t features_ = 0;
};

TEST_P(VirtioDeviceConformance, SurvivesHostileQueues) {
  int broken = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    random_.seed(seed);
    // With and without indirect descriptors and event indices.
    driver_->Start(features_ & (random_() | 0xffff));
    for (int round = 0; round < 4; ++round) {
      const uint16_t queue = static_cast<uint16_t>(random_() % queues_);
      // On the loop's thread: a device may be led to write over its own rings and so never rest,
      // and a race of a guest's CPU with it is not for ThreadSanitizer to judge.
      absl::Notification scrambled;
      host_.loop().Post([&] {
        ScrambleQueue(queue);
        scrambled.Notify();
      });
      scrambled.WaitForNotification();
      driver_->Notify(queue);
      if (random_() % 8 == 0) driver_->Reset();  // while the loop works
      host_.Settle();
    }
    if (driver_->status() & kNeedsReset) ++broken;
  }
  EXPECT_GT(broken, 10) << "the descriptors were not hostile enough to show anything";
  // After a reset it is as good as new.
  driver_->Start();
  for (uint16_t queue = 0; queue < queues_; ++queue) {
    driver_->OfferRoom(queue);
    driver_->Notify(queue);
  }
  host_.Settle();
  EXPECT_EQ(driver_->status(), kLive);
}

TEST_P(VirtioDeviceConformance, SurvivesHostileRegisters) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    random_.seed(seed);
    driver_->Start(features_);
    for (int i = 0; i < 500; ++i) {
      const size_t width = size_t{1} << random_() % 4;
      const uint64_t offset = random_() % 64 & ~(width - 1);
      const uint64_t value = random_() % 2 ? random_() % 16 : random_();
      host_.WriteMmio(driver_->common_gpa() + offset, width, value);
      if (i % 50 == 0) driver_->Notify(static_cast<uint16_t>(random_() % queues_));
    }
    host_.Settle();
  }
  driver_->Start();
  EXPECT_EQ(driver_->status(), kLive);
}

TEST_P(VirtioDeviceConformance, ConfigurationReadsFillEveryByte) {
  for (uint64_t offset = 0; offset < 64; ++offset) {
    for (size_t width : {1, 2, 4, 8}) {
      uint8_t a[8], b[8];
      std::fill(std::begin(a), std::end(a), 0x5a);
      std::fill(std::begin(b), std::end(b), 0xa5);
      host_.mmio().Read(driver_->device_config_gpa() + offset, absl::MakeSpan(a, width));
      host_.mmio().Read(driver_->device_config_gpa() + offset, absl::MakeSpan(b, width));
      EXPECT_TRUE(std::equal(a, a + width, b)) << "offset " << offset << " width " << width;
    }
  }
}

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_VIRTIO_DEVICE_CONFORMANCE_H_
