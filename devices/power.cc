#include "devices/power.h"

#include "absl/log/log.h"
#include "devices/io_bytes.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

constexpr uint8_t kSleepEnable = 1 << 5;
constexpr int kSleepTypeShift = 2;
constexpr uint8_t kSleepTypeMask = 7;

constexpr uint16_t kI8042DataPort = 0x60;
// Status register, IBM PC AT: bit 0 output buffer full, bit 1 input buffer full.
constexpr uint8_t kI8042OutputFull = 0x01;

}  // namespace

void AcpiPowerRegisters::Read(uint64_t /*offset*/, absl::Span<uint8_t> data) {
  // Nothing is pending: no sleep type set, no wake status.
  StoreLittleEndian(0, data);
}

void AcpiPowerRegisters::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) {
    const uint8_t value = data[i];
    switch (layout::kAcpiPort + offset + i) {
      case layout::kAcpiSleepControl: {
        if (!(value & kSleepEnable)) break;
        const uint8_t type = (value >> kSleepTypeShift) & kSleepTypeMask;
        if (type == layout::kAcpiSleepTypeS5) {
          host_.RequestEnd(RunEndKind::kPowerOff, "ACPI S5");
        } else {
          LOG_FIRST_N(WARNING, 3) << "guest asked for ACPI sleep type " << int{type}
                                  << "; only S5 (" << int{layout::kAcpiSleepTypeS5} << ") exists";
        }
        break;
      }
      case layout::kAcpiReset:
        if (value == layout::kAcpiResetValue) {
          host_.RequestEnd(RunEndKind::kReset, "ACPI reset register");
        }
        break;
      default:
        break;
    }
  }
}

void I8042Port::Read(uint64_t /*offset*/, absl::Span<uint8_t> data) {
  StoreOnes(data);
  if (kind_ == kCommand) data[0] = kI8042OutputFull;
}

void I8042Port::Write(uint64_t /*offset*/, absl::Span<const uint8_t> data) {
  if (kind_ == kData) return;
  // Commands 0xF0–0xFF pulse the output lines whose bit is 0; line 0 is the processor's reset.
  if ((data[0] & 0xf1) == 0xf0) {
    host_.RequestEnd(RunEndKind::kReset, "keyboard controller reset pulse");
  }
}

absl::StatusOr<std::unique_ptr<PowerControl>> PowerControl::Create(DeviceHost& host) {
  auto power = std::unique_ptr<PowerControl>(new PowerControl(host));
  Bus& pio = host.pio();
  absl::Status status = pio.Insert(layout::kAcpiPort, AcpiPowerRegisters::kSize, &power->acpi_);
  status.Update(pio.Insert(kI8042DataPort, 1, &power->data_));
  status.Update(pio.Insert(layout::kI8042CommandPort, 1, &power->command_));
  if (!status.ok()) return status;
  return power;
}

}  // namespace watchsnap
