// PciBus: the machine's one PCI bus with its host bridge at device 0; configuration space through
// ports 0xCF8/0xCFC and through ECAM.
//
// BARs are placed one after another, naturally aligned, from the bottom of the 32-bit PCI window of
// layout.h, and memory decoding is enabled: what firmware would leave, and what a kernel that
// trusts firmware keeps. One function per device; no legacy INTx lines.
// Threads: built on one thread; configuration accesses on vCPU threads, several at a time.
// Ownership: owns its functions.
// Guest input: a device or function that is not there reads as all ones and ignores writes.
// Constants: PCI Local Bus 3.0 §3.2.2.3.2 (mechanism #1); PCI Express Base 5.0 §7.2.2 (ECAM).
#ifndef WATCHSNAP_DEVICES_PCI_PCI_BUS_H_
#define WATCHSNAP_DEVICES_PCI_PCI_BUS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "devices/pci/pci_function.h"
#include "devices/reset_control.h"
#include "vmm/device_host.h"
#include "vmm/io_handler.h"

namespace watchsnap {

// Builds one function; PciBus places and maps it.
using PciFunctionFactory =
    std::function<absl::StatusOr<std::unique_ptr<PciFunction>>(DeviceHost& host)>;

// The functions of bus 0, by device number.
class PciSlots {
 public:
  // `bdf`: bus << 8 | device << 3 | function.
  void Read(uint32_t bdf, uint32_t offset, absl::Span<uint8_t> data) const;
  void Write(uint32_t bdf, uint32_t offset, absl::Span<const uint8_t> data) const;

 private:
  friend class PciBus;
  PciFunction* Find(uint32_t bdf) const;
  std::vector<std::unique_ptr<PciFunction>> functions_;
};

// Ports 0xCF8–0xCFF: address at +0 (and the reset control register as a byte at +1), data at +4.
class PciConfigPorts : public IoHandler {
 public:
  static constexpr uint64_t kSize = 8;
  PciConfigPorts(DeviceHost& host, const PciSlots& slots) : slots_(slots), reset_(host) {}
  std::string_view Name() const override { return "pci.config-ports"; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

 private:
  const PciSlots& slots_;
  ResetControl reset_;
  std::atomic<uint32_t> address_{0};
};

class PciEcam : public IoHandler {
 public:
  explicit PciEcam(const PciSlots& slots) : slots_(slots) {}
  std::string_view Name() const override { return "pci.ecam"; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

 private:
  const PciSlots& slots_;
};

class PciBus : public Device {
 public:
  // Functions get device numbers from 1 in the given order.
  static absl::StatusOr<std::unique_ptr<PciBus>> Create(
      DeviceHost& host, const std::vector<PciFunctionFactory>& functions);

  std::string_view Name() const override { return "pci"; }

 private:
  explicit PciBus(DeviceHost& host) : ports_(host, slots_), ecam_(slots_) {}
  absl::Status Add(std::unique_ptr<PciFunction> function);

  PciSlots slots_;
  PciConfigPorts ports_;
  PciEcam ecam_;
  uint64_t next_bar_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_PCI_PCI_BUS_H_
