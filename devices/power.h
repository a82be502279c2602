// PowerControl: the ways by which a guest ends its machine: ACPI's sleep control and reset
// registers, and the keyboard controller's reset pulse (see reset_control.h for port 0xCF9).
//
// Threads: registers on vCPU threads; they hold no state.
// Each end becomes DeviceHost::RequestEnd: power-off (S5) or reset. Other sleep states do nothing.
#ifndef WATCHSNAP_DEVICES_POWER_H_
#define WATCHSNAP_DEVICES_POWER_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "vmm/device_host.h"
#include "vmm/io_handler.h"

namespace watchsnap {

// The register block at layout::kAcpiPort (ACPI 6.5 §4.8.3.6, §4.8.3.7).
class AcpiPowerRegisters : public IoHandler {
 public:
  static constexpr uint64_t kSize = 8;
  explicit AcpiPowerRegisters(DeviceHost& host) : host_(host) {}
  std::string_view Name() const override { return "acpi-power"; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

 private:
  DeviceHost& host_;
};

// One port of a keyboard controller that is not there but for its reset pulse.
//
// The status port says "output buffer full, input buffer empty" for ever: Linux' probe reads 16
// bytes, gives up and says that there is no controller, and its reboot path, which waits for an
// empty input buffer, goes on at once.
class I8042Port : public IoHandler {
 public:
  enum Kind { kData, kCommand };
  I8042Port(DeviceHost& host, Kind kind) : host_(host), kind_(kind) {}
  std::string_view Name() const override {
    return kind_ == kData ? "i8042.data" : "i8042.command";
  }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

 private:
  DeviceHost& host_;
  const Kind kind_;
};

class PowerControl : public Device {
 public:
  static absl::StatusOr<std::unique_ptr<PowerControl>> Create(DeviceHost& host);
  std::string_view Name() const override { return "power"; }

 private:
  explicit PowerControl(DeviceHost& host)
      : acpi_(host), data_(host, I8042Port::kData), command_(host, I8042Port::kCommand) {}
  AcpiPowerRegisters acpi_;
  I8042Port data_;
  I8042Port command_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_POWER_H_
