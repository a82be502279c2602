// VirtioCore: the state machine of a virtio device that its driver steers through the PCI common
// configuration structure: feature negotiation, status, reset, queues and their interrupt vectors.
//
// Threads: registers on vCPU threads; ProcessQueue on the loop's thread. One lock covers registers,
// queues and the device behind them, so that a reset is complete when its write returns: nothing
// touches the driver's memory afterwards.
// Lock order: this lock, then that of Msix or of the device's host side.
// Guest input: hostile. A broken ring, or a device's error, sets DEVICE_NEEDS_RESET; queues then
// rest until the driver resets. Registers of the wrong width mean nothing.
// Constants: virtio 1.2 §2.1 (status), §2.2 (features), §4.1.4.3 (common configuration).
#ifndef WATCHSNAP_DEVICES_VIRTIO_VIRTIO_CORE_H_
#define WATCHSNAP_DEVICES_VIRTIO_VIRTIO_CORE_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "devices/pci/msix.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtqueue.h"
#include "vmm/device_host.h"
#include "vmm/io_handler.h"

namespace watchsnap {

namespace virtio {
inline constexpr uint8_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8,
                         kNeedsReset = 64, kFailed = 128;
inline constexpr uint64_t kFeatureIndirectDesc = uint64_t{1} << 28;
inline constexpr uint64_t kFeatureEventIdx = uint64_t{1} << 29;
inline constexpr uint64_t kFeatureVersion1 = uint64_t{1} << 32;
inline constexpr uint16_t kNoVector = 0xffff;
}  // namespace virtio

class VirtioCore : public IoHandler {
 public:
  static constexpr uint64_t kCommonSize = 64;  // 60 defined bytes

  // Borrows all three, which outlive it.
  VirtioCore(DeviceHost& host, VirtioDevice& device, Msix& msix);

  // The common configuration structure.
  std::string_view Name() const override { return name_; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

  int queue_count() const { return queue_count_; }
  // Lets the device work on a queue. Loop thread only.
  void ProcessQueue(uint16_t index);
  // Has the loop call ProcessQueue. Any thread.
  void Kick(uint16_t index);
  // The ISR status register; reading clears it.
  uint8_t TakeIsr();

 private:
  struct Queue {
    explicit Queue(const GuestMemory& memory) : ring(memory) {}
    VirtQueue ring;
    VirtQueue::Config config;
    uint16_t max_size = 0;
    uint16_t vector = virtio::kNoVector;
  };

  uint64_t ReadField(uint64_t offset, size_t width) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteField(uint64_t offset, size_t width, uint32_t value)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteQueueField(Queue& queue, uint64_t offset, uint32_t value)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteStatus(uint8_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint16_t CheckedVector(uint32_t value) const;
  void EnableQueue(Queue& queue) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Reset() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ResetQueue(Queue& queue) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Break(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Queue* Selected() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  DeviceHost& host_;
  VirtioDevice& device_;
  Msix& msix_;
  const std::string name_;
  const uint64_t offered_;
  const int queue_count_;

  absl::Mutex mutex_;
  std::vector<Queue> queues_ ABSL_GUARDED_BY(mutex_);
  uint8_t status_ ABSL_GUARDED_BY(mutex_) = 0;
  uint8_t isr_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t accepted_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t device_feature_select_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t driver_feature_select_ ABSL_GUARDED_BY(mutex_) = 0;
  uint16_t queue_select_ ABSL_GUARDED_BY(mutex_) = 0;
  uint16_t config_vector_ ABSL_GUARDED_BY(mutex_) = virtio::kNoVector;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_VIRTIO_CORE_H_
