// VirtioRng: an entropy source that passes on the host's getrandom(2).
//
// Guest input: a buffer of any length is filled with at most kMaxBytes; the used length says so.
// Constants: virtio 1.2 §5.4.
#ifndef WATCHSNAP_DEVICES_VIRTIO_VIRTIO_RNG_H_
#define WATCHSNAP_DEVICES_VIRTIO_VIRTIO_RNG_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "devices/virtio/virtio_device.h"

namespace watchsnap {

class VirtioRng : public VirtioDevice {
 public:
  static constexpr size_t kMaxBytes = 4096;

  const Traits& traits() const override { return traits_; }
  void ReadConfig(uint64_t offset, absl::Span<uint8_t> data) const override;
  absl::StatusOr<QueueProgress> HandleQueue(uint16_t index, QueueContext& context) override;

 private:
  const Traits traits_ = {.name = "virtio-rng",
                          .type = 4,
                          .pci_class = 0x00ff00,  // unclassified
                          .features = 0,
                          .queue_sizes = {64}};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_VIRTIO_RNG_H_
