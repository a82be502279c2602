// VirtioPci: the virtio 1.2 PCI transport, modern only: puts a VirtioDevice behind a PCI function.
//
// BAR 0 holds the structures (common, ISR, device configuration, doorbells, a page each), BAR 1
// MSI-X: one vector per queue and one for configuration. A doorbell is an ioeventfd of the host,
// which the event loop watches: ringing it does not leave the guest's CPU in the kernel. A doorbell
// that arrives as an ordinary write (no ioeventfd, or through configuration space) goes the same
// way.
// Threads: registers on vCPU threads, queues on the loop's thread.
// Ownership: owns the device and its eventfds. Destroyed after the loop has stopped.
// Constants: virtio 1.2 §4.1.
#ifndef WATCHSNAP_DEVICES_VIRTIO_VIRTIO_PCI_H_
#define WATCHSNAP_DEVICES_VIRTIO_VIRTIO_PCI_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "devices/pci/msix.h"
#include "devices/pci/pci_function.h"
#include "devices/virtio/virtio_core.h"
#include "devices/virtio/virtio_device.h"
#include "vmm/device_host.h"
#include "vmm/io_handler.h"

namespace watchsnap {

class VirtioPci : public PciFunction {
 public:
  static absl::StatusOr<std::unique_ptr<VirtioPci>> Create(DeviceHost& host,
                                                           std::unique_ptr<VirtioDevice> device);
  ~VirtioPci() override;

  void ReadConfig(uint32_t offset, absl::Span<uint8_t> data) override;
  void WriteConfig(uint32_t offset, absl::Span<const uint8_t> data) override;

  // For tests: the register structures of BAR 0.
  IoHandler& registers() { return registers_; }
  static constexpr uint32_t kRegistersSize = 0x4000;

 private:
  // BAR 0.
  class Registers : public IoHandler {
   public:
    explicit Registers(VirtioPci& owner);
    std::string_view Name() const override { return name_; }
    void Read(uint64_t offset, absl::Span<uint8_t> data) override;
    void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

   private:
    VirtioPci& owner_;
    const std::string name_;
  };

  VirtioPci(DeviceHost& host, std::unique_ptr<VirtioDevice> device, std::unique_ptr<Msix> msix);
  absl::Status Start();
  void AddCapabilities();
  void OnBarMapped(int bar, uint64_t gpa) override;
  void OnBarUnmapped(int bar) override;
  // The window that the PCI configuration access capability selects, or null.
  IoHandler* ConfigWindow(uint32_t* offset, uint32_t* length) const;

  const std::unique_ptr<VirtioDevice> device_;
  const std::unique_ptr<Msix> msix_;
  VirtioCore core_;
  Registers registers_;
  uint32_t config_access_ = 0;  // offset of VIRTIO_PCI_CAP_PCI_CFG
  std::vector<int> doorbells_;  // one eventfd per queue
  std::vector<std::unique_ptr<IoEvent>> io_events_;  // under the configuration lock
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_VIRTIO_PCI_H_
