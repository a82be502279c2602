// VirtioConsole: a multiport console. Port 0 is the guest's hvc0; further ports are named streams.
//
// The driver opens with DEVICE_READY; ports are then added, named and opened towards the guest: a
// port that the host does not open makes the guest's writes block.
// Threads, locks: see virtio_device.h. Bytes reach the ports' receivers on the loop's thread,
// unlocked.
// Ownership: shares its ports, and is their one console until it is destroyed.
// Guest input: one chain carries at most kMaxChainBytes, else the ring counts as broken; control
// messages that mean nothing are ignored, repeated ones are answered once.
// Constants: virtio 1.2 §5.3.
#ifndef WATCHSNAP_DEVICES_VIRTIO_VIRTIO_CONSOLE_H_
#define WATCHSNAP_DEVICES_VIRTIO_VIRTIO_CONSOLE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "devices/virtio/console_port.h"
#include "devices/virtio/virtio_device.h"

namespace watchsnap {

class VirtioConsole : public VirtioDevice {
 public:
  struct PortOptions {
    std::string name;  // empty: none
    std::shared_ptr<ConsolePort> port;
  };
  static constexpr uint64_t kMaxChainBytes = 1 << 20;

  // Port 0, the console, comes first.
  static absl::StatusOr<std::unique_ptr<VirtioConsole>> Create(std::vector<PortOptions> ports);
  ~VirtioConsole() override;

  const Traits& traits() const override { return traits_; }
  void ReadConfig(uint64_t offset, absl::Span<uint8_t> data) const override;
  absl::StatusOr<QueueProgress> HandleQueue(uint16_t index, QueueContext& context) override;
  void OnReset() override;

 private:
  struct Port {
    std::string name;
    std::shared_ptr<ConsolePort> host;
    bool attached = false;
    bool ready = false;  // PORT_READY was answered
  };

  explicit VirtioConsole(std::vector<PortOptions> ports);
  absl::StatusOr<QueueProgress> SendToGuest(Port& port, QueueContext& context);
  absl::StatusOr<QueueProgress> ReceiveFromGuest(Port& port, QueueContext& context);
  absl::StatusOr<QueueProgress> SendControl(QueueContext& context);
  absl::StatusOr<QueueProgress> ReceiveControl(QueueContext& context);
  void HandleControl(uint32_t id, uint16_t event, uint16_t value);
  void QueueControl(uint32_t id, uint16_t event, uint16_t value, std::string_view text = {});

  std::vector<Port> ports_;
  Traits traits_;
  std::array<uint8_t, 12> config_ = {};

  // Under the transport's lock.
  bool device_ready_ = false;
  std::deque<std::string> control_;  // messages that wait for a buffer; a few for each port
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_VIRTIO_CONSOLE_H_
