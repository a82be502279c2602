// VirtioDevice: what one kind of virtio device does, independent of the transport that carries it.
//
// Threads: HandleQueue runs on the event loop's thread, OnReset on a vCPU thread; the transport
// calls both under its lock, so state that only they touch needs no other. Neither may block or
// call out of the device model; what may block (a sink, a consumer) is handed to
// QueueContext::Defer, which the loop's thread runs after the lock is released.
// Guest input: HandleQueue sees chains of bounded descriptors; lengths and bytes are hostile. A
// Status it returns marks the device as needing a reset.
#ifndef WATCHSNAP_DEVICES_VIRTIO_VIRTIO_DEVICE_H_
#define WATCHSNAP_DEVICES_VIRTIO_VIRTIO_DEVICE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "devices/io_bytes.h"
#include "devices/virtio/virtqueue.h"

namespace watchsnap {

// One call of HandleQueue.
class QueueContext {
 public:
  explicit QueueContext(VirtQueue& queue) : queue_(queue) {}
  VirtQueue& queue() { return queue_; }
  // Runs `call` on the loop's thread, after this call and without any lock, in order.
  void Defer(std::function<void()> call) { deferred_.push_back(std::move(call)); }
  std::vector<std::function<void()>> TakeDeferred() { return std::move(deferred_); }

 private:
  VirtQueue& queue_;
  std::vector<std::function<void()>> deferred_;
};

enum class QueueProgress {
  kDone,  // nothing left to do until the driver or the host adds something
  kMore,  // the budget of one call is used up: call again soon
};

class VirtioDevice {
 public:
  struct Traits {
    std::string name;         // "virtio-console"
    uint16_t type = 0;        // virtio 1.2 §5: 3 console, 4 entropy
    uint32_t pci_class = 0;   // class << 16 | subclass << 8
    uint64_t features = 0;    // of this type; the transport adds the common ones
    std::vector<uint16_t> queue_sizes;  // the largest size of each queue
  };
  using Kick = std::function<void(uint16_t queue)>;

  virtual ~VirtioDevice() = default;
  virtual const Traits& traits() const = 0;

  // Device-specific configuration space: constant, read on vCPU threads.
  virtual void ReadConfig(uint64_t offset, absl::Span<uint8_t> data) const = 0;

  // The driver rang the doorbell, or someone kicked. Handles a bounded amount of work.
  virtual absl::StatusOr<QueueProgress> HandleQueue(uint16_t index, QueueContext& context) = 0;
  // The driver reset the device: all guest-visible state returns to its beginning.
  virtual void OnReset() {}

  // Set once by the transport, before anything runs: makes HandleQueue(queue) be called soon, if
  // the driver is ready for it. Any thread, does not block.
  void set_kick(Kick kick) { kick_ = std::move(kick); }

 protected:
  void KickQueue(uint16_t queue) {
    if (kick_) kick_(queue);
  }
  // For ReadConfig of a device whose configuration is these bytes; all ones beyond.
  static void ReadBytes(absl::Span<const uint8_t> config, uint64_t offset,
                        absl::Span<uint8_t> data) {
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = offset + i < config.size() ? config[offset + i] : 0xff;
    }
  }

 private:
  Kick kick_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_VIRTIO_DEVICE_H_
