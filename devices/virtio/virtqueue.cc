#include "devices/virtio/virtqueue.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "absl/numeric/bits.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

constexpr uint16_t kDescriptorNext = 1, kDescriptorWrite = 2, kDescriptorIndirect = 4;
constexpr uint16_t kAvailableNoInterrupt = 1;
// Both rings: u16 flags, u16 index, entries, u16 event.
constexpr uint64_t kRingIndex = 2, kRingEntries = 4;
constexpr uint64_t kDescriptorSize = 16, kAvailableEntry = 2, kUsedEntry = 8;

// The guest's CPUs read and write these words at the same time.
template <typename T>
T LoadShared(const uint8_t* at, std::memory_order order = std::memory_order_relaxed) {
  return std::atomic_ref<T>(*reinterpret_cast<T*>(const_cast<uint8_t*>(at))).load(order);
}
template <typename T>
void StoreShared(uint8_t* at, T value, std::memory_order order = std::memory_order_relaxed) {
  std::atomic_ref<T>(*reinterpret_cast<T*>(at)).store(value, order);
}

}  // namespace

uint64_t DescriptorChain::ReadableBytes() const {
  uint64_t total = 0;
  for (absl::Span<const uint8_t> part : readable) total += part.size();
  return total;
}

uint64_t DescriptorChain::WritableBytes() const {
  uint64_t total = 0;
  for (absl::Span<uint8_t> part : writable) total += part.size();
  return total;
}

uint32_t DescriptorChain::CopyFrom(absl::Span<const uint8_t> bytes) const {
  size_t copied = 0;
  for (absl::Span<uint8_t> part : writable) {
    const size_t count = std::min(part.size(), bytes.size() - copied);
    std::copy_n(bytes.begin() + copied, count, part.begin());
    copied += count;
  }
  return static_cast<uint32_t>(copied);
}

absl::Status VirtQueue::Enable(const Config& config) {
  enabled_ = false;
  if (config.size > kMaxSize || !absl::has_single_bit(config.size)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "virtqueue: size %d is not a power of two up to %d", config.size, kMaxSize));
  }
  // §2.7: alignment 16, 2 and 4; both rings end with the other side's event index.
  const uint64_t size = config.size;
  const struct {
    const char* what;
    uint64_t gpa, length, alignment;
    uint8_t** host;
  } areas[] = {
      {"descriptor table", config.desc_gpa, size * kDescriptorSize, 16, &desc_},
      {"available ring", config.driver_gpa, kRingEntries + size * kAvailableEntry + 2, 2, &driver_},
      {"used ring", config.device_gpa, kRingEntries + size * kUsedEntry + 2, 4, &device_},
  };
  for (const auto& area : areas) {
    *area.host = memory_.HostAddress(area.gpa, area.length);
    if (*area.host == nullptr || area.gpa % area.alignment != 0) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "virtqueue: %s at %#x (%d bytes) is not in guest memory or not aligned to %d", area.what,
          area.gpa, area.length, area.alignment));
    }
  }
  config_ = config;
  next_available_ = next_used_ = last_interrupt_used_ = 0;
  enabled_ = true;
  return absl::OkStatus();
}

uint16_t VirtQueue::AvailableIndex() const {
  // Acquire: the entries and descriptors that the driver wrote before it moved the index.
  return LoadShared<uint16_t>(driver_ + kRingIndex, std::memory_order_acquire);
}

absl::StatusOr<bool> VirtQueue::Pop(DescriptorChain* chain) {
  chain->readable.clear();
  chain->writable.clear();
  uint16_t waiting = AvailableIndex() - next_available_;
  if (waiting == 0 && config_.event_idx) {
    // Ask for a doorbell at the next chain, then look again: the driver may have added one before
    // it saw the request (§2.7.10; the fence pairs with the driver's).
    StoreShared<uint16_t>(device_ + kRingEntries + config_.size * kUsedEntry, next_available_);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    waiting = AvailableIndex() - next_available_;
  }
  if (waiting == 0) return false;
  if (waiting > config_.size) {
    return absl::DataLossError(absl::StrFormat(
        "virtqueue: the driver offers %d chains in a ring of %d", waiting, config_.size));
  }
  chain->head = LoadShared<uint16_t>(
      driver_ + kRingEntries + next_available_ % config_.size * kAvailableEntry);
  if (absl::Status status = Walk(chain->head, chain); !status.ok()) return status;
  ++next_available_;
  return true;
}

absl::Status VirtQueue::AddPart(const Descriptor& descriptor, DescriptorChain* chain) const {
  if (descriptor.length == 0) return absl::OkStatus();
  uint8_t* host = memory_.HostAddress(descriptor.address, descriptor.length);
  if (host == nullptr) {
    return absl::DataLossError(
        absl::StrFormat("virtqueue: descriptor of %d bytes at %#x is not in guest memory",
                        descriptor.length, descriptor.address));
  }
  if (descriptor.flags & kDescriptorWrite) {
    chain->writable.emplace_back(host, descriptor.length);
  } else if (chain->writable.empty()) {
    chain->readable.emplace_back(host, descriptor.length);
  } else {
    return absl::DataLossError("virtqueue: a device-readable descriptor follows a writable one");
  }
  return absl::OkStatus();
}

absl::Status VirtQueue::Walk(uint16_t head, DescriptorChain* chain) const {
  const uint8_t* table = desc_;
  uint32_t table_size = config_.size;
  uint32_t index = head;
  bool in_indirect = false;
  for (int count = 0; count < kMaxDescriptors; ++count) {
    if (index >= table_size) {
      return absl::DataLossError(absl::StrFormat(
          "virtqueue: descriptor %d is outside its table of %d", index, table_size));
    }
    Descriptor descriptor;  // copied before it is checked
    std::memcpy(&descriptor, table + index * kDescriptorSize, sizeof descriptor);
    if (descriptor.flags & kDescriptorIndirect) {
      if (in_indirect || !config_.indirect || (descriptor.flags & kDescriptorNext)) {
        return absl::DataLossError(
            "virtqueue: an indirect descriptor that was not negotiated, is nested, or is followed");
      }
      table = memory_.HostAddress(descriptor.address, descriptor.length);
      if (table == nullptr || descriptor.length == 0 || descriptor.length % kDescriptorSize != 0) {
        return absl::DataLossError(absl::StrFormat(
            "virtqueue: indirect table of %d bytes at %#x is not whole descriptors in guest memory",
            descriptor.length, descriptor.address));
      }
      table_size = descriptor.length / kDescriptorSize;
      index = 0;
      in_indirect = true;
      continue;
    }
    if (absl::Status status = AddPart(descriptor, chain); !status.ok()) return status;
    if (!(descriptor.flags & kDescriptorNext)) return absl::OkStatus();
    index = descriptor.next;
  }
  return absl::DataLossError(absl::StrFormat(
      "virtqueue: a chain of more than %d descriptors, or a loop", kMaxDescriptors));
}

void VirtQueue::Push(const DescriptorChain& chain, uint32_t written) {
  uint8_t* entry = device_ + kRingEntries + next_used_ % config_.size * kUsedEntry;
  StoreShared<uint32_t>(entry, chain.head);
  StoreShared<uint32_t>(entry + 4, written);
  ++next_used_;
  // Release: the entry and the buffer's bytes come before the index.
  StoreShared<uint16_t>(device_ + kRingIndex, next_used_, std::memory_order_release);
}

bool VirtQueue::TakeInterruptRequest() {
  const uint16_t pushed = next_used_ - last_interrupt_used_;
  if (pushed == 0) return false;
  // Our index must be visible before the driver's wish is read (§2.7.7.2).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  last_interrupt_used_ = next_used_;
  if (!config_.event_idx) {
    return !(LoadShared<uint16_t>(driver_) & kAvailableNoInterrupt);
  }
  // Wanted if the driver's event index is among those just passed.
  const uint16_t event =
      LoadShared<uint16_t>(driver_ + kRingEntries + config_.size * kAvailableEntry);
  return static_cast<uint16_t>(next_used_ - event - 1) < pushed;
}

}  // namespace watchsnap
