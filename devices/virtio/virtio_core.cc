#include "devices/virtio/virtio_core.h"

#include <utility>

#include "absl/log/log.h"
#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "devices/io_bytes.h"

namespace watchsnap {
namespace {

// struct virtio_pci_common_cfg. 64-bit fields are two 32-bit halves.
enum Field : uint64_t {
  kDeviceFeatureSelect = 0,
  kDeviceFeature = 4,
  kDriverFeatureSelect = 8,
  kDriverFeature = 12,
  kConfigVector = 16,
  kNumQueues = 18,
  kDeviceStatus = 20,
  kConfigGeneration = 21,
  kQueueSelect = 22,
  kQueueSize = 24,
  kQueueVector = 26,
  kQueueEnable = 28,
  kQueueNotifyOff = 30,
  kQueueDescLow = 32,
  kQueueDescHigh = 36,
  kQueueDriverLow = 40,
  kQueueDriverHigh = 44,
  kQueueDeviceLow = 48,
  kQueueDeviceHigh = 52,
};

size_t WidthOf(uint64_t offset) {
  if (offset == kDeviceStatus || offset == kConfigGeneration) return 1;
  if (offset >= kConfigVector && offset <= kQueueNotifyOff) return 2;
  return 4;
}

constexpr uint8_t kIsrQueue = 1, kIsrConfig = 2;
constexpr uint8_t kDriverStatusBits = virtio::kAcknowledge | virtio::kDriver | virtio::kDriverOk |
                                      virtio::kFeaturesOk | virtio::kFailed;

void SetHalf(uint64_t& field, bool high, uint32_t value) {
  const int shift = high ? 32 : 0;
  field = (field & ~(uint64_t{0xffff'ffff} << shift)) | uint64_t{value} << shift;
}

}  // namespace

VirtioCore::VirtioCore(DeviceHost& host, VirtioDevice& device, Msix& msix)
    : host_(host),
      device_(device),
      msix_(msix),
      name_(absl::StrCat(device.traits().name, ".common")),
      offered_(device.traits().features | virtio::kFeatureVersion1 |
               virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx),
      queue_count_(static_cast<int>(device.traits().queue_sizes.size())) {
  absl::MutexLock lock(&mutex_);
  for (uint16_t size : device.traits().queue_sizes) {
    Queue& queue = queues_.emplace_back(host.memory());
    queue.max_size = size;
    ResetQueue(queue);
  }
}

void VirtioCore::ResetQueue(Queue& queue) {
  queue.ring.Disable();
  queue.config = {.size = queue.max_size};
  queue.vector = virtio::kNoVector;
}

void VirtioCore::Reset() {
  status_ = 0;
  isr_ = 0;
  accepted_ = 0;
  device_feature_select_ = driver_feature_select_ = 0;
  queue_select_ = 0;
  config_vector_ = virtio::kNoVector;
  for (Queue& queue : queues_) ResetQueue(queue);
  device_.OnReset();
}

VirtioCore::Queue* VirtioCore::Selected() {
  return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}

void VirtioCore::Read(uint64_t offset, absl::Span<uint8_t> data) {
  StoreOnes(data);
  absl::MutexLock lock(&mutex_);
  if (data.size() == 8 && offset % 8 == 0) {
    StoreLittleEndian(ReadField(offset, 4), data.subspan(0, 4));
    StoreLittleEndian(ReadField(offset + 4, 4), data.subspan(4, 4));
    return;
  }
  StoreLittleEndian(ReadField(offset, data.size()), data);
}

uint64_t VirtioCore::ReadField(uint64_t offset, size_t width) {
  constexpr uint64_t kNothing = ~uint64_t{0};
  if (width != WidthOf(offset)) return kNothing;
  const Queue* queue = Selected();
  switch (offset) {
    case kDeviceFeatureSelect:
      return device_feature_select_;
    case kDeviceFeature:
      return device_feature_select_ < 2 ? offered_ >> (32 * device_feature_select_) : 0;
    case kDriverFeatureSelect:
      return driver_feature_select_;
    case kDriverFeature:
      return driver_feature_select_ < 2 ? accepted_ >> (32 * driver_feature_select_) : 0;
    case kConfigVector:
      return config_vector_;
    case kNumQueues:
      return queues_.size();
    case kDeviceStatus:
      return status_;
    case kConfigGeneration:
      return 0;  // the device configuration never changes
    case kQueueSelect:
      return queue_select_;
    default:
      break;
  }
  // Fields of the selected queue; a queue that is not there reads as 0, also in its size
  // (§4.1.4.3).
  if (queue == nullptr) return 0;
  switch (offset) {
    case kQueueSize:
      return queue->config.size;
    case kQueueVector:
      return queue->vector;
    case kQueueEnable:
      return queue->ring.enabled() ? 1 : 0;
    case kQueueNotifyOff:
      return queue_select_;
    case kQueueDescLow:
      return queue->config.desc_gpa;
    case kQueueDescHigh:
      return queue->config.desc_gpa >> 32;
    case kQueueDriverLow:
      return queue->config.driver_gpa;
    case kQueueDriverHigh:
      return queue->config.driver_gpa >> 32;
    case kQueueDeviceLow:
      return queue->config.device_gpa;
    case kQueueDeviceHigh:
      return queue->config.device_gpa >> 32;
    default:
      return 0;
  }
}

void VirtioCore::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  if (data.size() == 8 && offset % 8 == 0) {
    WriteField(offset, 4, static_cast<uint32_t>(LoadLittleEndian(data.subspan(0, 4))));
    WriteField(offset + 4, 4, static_cast<uint32_t>(LoadLittleEndian(data.subspan(4, 4))));
    return;
  }
  if (data.size() > 4) return;
  WriteField(offset, data.size(), static_cast<uint32_t>(LoadLittleEndian(data)));
}

void VirtioCore::WriteField(uint64_t offset, size_t width, uint32_t value) {
  if (width != WidthOf(offset)) return;
  switch (offset) {
    case kDeviceFeatureSelect:
      device_feature_select_ = value;
      return;
    case kDriverFeatureSelect:
      driver_feature_select_ = value;
      return;
    case kDriverFeature:
      // Settled once FEATURES_OK stands.
      if (driver_feature_select_ < 2 && !(status_ & virtio::kFeaturesOk)) {
        SetHalf(accepted_, driver_feature_select_ == 1, value);
      }
      return;
    case kConfigVector:
      config_vector_ = CheckedVector(value);
      return;
    case kDeviceStatus:
      WriteStatus(static_cast<uint8_t>(value));
      return;
    case kQueueSelect:
      queue_select_ = static_cast<uint16_t>(value);
      return;
    default:
      if (Queue* queue = Selected(); queue != nullptr) WriteQueueField(*queue, offset, value);
      return;
  }
}

void VirtioCore::WriteQueueField(Queue& queue, uint64_t offset, uint32_t value) {
  if (offset == kQueueVector) {
    queue.vector = CheckedVector(value);
    return;
  }
  if (queue.ring.enabled()) return;  // the layout is settled
  switch (offset) {
    case kQueueSize:
      if (value <= queue.max_size && absl::has_single_bit(value)) {
        queue.config.size = static_cast<uint16_t>(value);
      }
      return;
    case kQueueEnable:
      if (value == 1) EnableQueue(queue);
      return;
    case kQueueDescLow:
    case kQueueDescHigh:
      return SetHalf(queue.config.desc_gpa, offset == kQueueDescHigh, value);
    case kQueueDriverLow:
    case kQueueDriverHigh:
      return SetHalf(queue.config.driver_gpa, offset == kQueueDriverHigh, value);
    case kQueueDeviceLow:
    case kQueueDeviceHigh:
      return SetHalf(queue.config.device_gpa, offset == kQueueDeviceHigh, value);
    default:
      return;
  }
}

uint16_t VirtioCore::CheckedVector(uint32_t value) const {
  // A vector that cannot be had reads back as none (§4.1.5.1.2.1).
  return value < static_cast<uint32_t>(msix_.vectors()) ? static_cast<uint16_t>(value)
                                                        : virtio::kNoVector;
}

void VirtioCore::EnableQueue(Queue& queue) {
  if (!(status_ & virtio::kFeaturesOk)) return;
  queue.config.indirect = (accepted_ & virtio::kFeatureIndirectDesc) != 0;
  queue.config.event_idx = (accepted_ & virtio::kFeatureEventIdx) != 0;
  if (absl::Status status = queue.ring.Enable(queue.config); !status.ok()) Break(status);
}

void VirtioCore::WriteStatus(uint8_t value) {
  if (value == 0) return Reset();
  uint8_t added = value & kDriverStatusBits & ~status_;
  if (added & virtio::kFeaturesOk) {
    const bool acceptable =
        (accepted_ & ~offered_) == 0 && (accepted_ & virtio::kFeatureVersion1) != 0;
    if (!acceptable) added &= ~virtio::kFeaturesOk;
  }
  // A driver that goes live without agreed features is a legacy or a mad one: not served.
  if (!((status_ | added) & virtio::kFeaturesOk)) added &= ~virtio::kDriverOk;
  status_ |= added;
  if (added & virtio::kDriverOk) {
    // Buffers may have been queued, and host input may have waited, before now.
    for (int i = 0; i < queue_count_; ++i) Kick(static_cast<uint16_t>(i));
  }
}

void VirtioCore::Break(const absl::Status& why) {
  if (status_ & virtio::kNeedsReset) return;
  LOG_FIRST_N(WARNING, 10) << device_.traits().name << " needs a reset: " << why;
  status_ |= virtio::kNeedsReset;
  if (status_ & virtio::kDriverOk) {
    isr_ |= kIsrConfig;
    msix_.Trigger(config_vector_);
  }
}

void VirtioCore::Kick(uint16_t index) {
  host_.loop().Post([this, index] { ProcessQueue(index); });
}

void VirtioCore::ProcessQueue(uint16_t index) {
  std::vector<std::function<void()>> deferred;
  bool more = false;
  {
    absl::MutexLock lock(&mutex_);
    if (index >= queues_.size() || !queues_[index].ring.enabled() ||
        !(status_ & virtio::kDriverOk) || (status_ & virtio::kNeedsReset)) {
      return;
    }
    Queue& queue = queues_[index];
    QueueContext context(queue.ring);
    absl::StatusOr<QueueProgress> progress = device_.HandleQueue(index, context);
    if (!progress.ok()) Break(progress.status());
    more = progress.ok() && *progress == QueueProgress::kMore;
    if (queue.ring.TakeInterruptRequest()) {
      if (!msix_.enabled()) isr_ |= kIsrQueue;
      msix_.Trigger(queue.vector);
    }
    deferred = context.TakeDeferred();
  }
  for (auto& call : deferred) call();
  if (more) Kick(index);
}

uint8_t VirtioCore::TakeIsr() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(isr_, 0);
}

}  // namespace watchsnap
