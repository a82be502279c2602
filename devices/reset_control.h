// ResetControl: the reset control register that chipsets put at port 0xCF9, inside the PCI
// configuration address port; the PCI host bridge passes byte accesses to it.
//
// Constants: Intel ICH9 datasheet §13.7.5 (RST_CNT): bit 1 chooses a hard reset, a rise of bit 2
// performs it, bit 3 cycles power as well. Linux writes 0x02, then 0x06 or 0x0E.
// Threads: any.
#ifndef WATCHSNAP_DEVICES_RESET_CONTROL_H_
#define WATCHSNAP_DEVICES_RESET_CONTROL_H_

#include <atomic>
#include <cstdint>

#include "vmm/device_host.h"

namespace watchsnap {

class ResetControl {
 public:
  explicit ResetControl(DeviceHost& host) : host_(host) {}

  uint8_t Read() const { return value_.load(std::memory_order_relaxed); }
  void Write(uint8_t value) {
    const uint8_t kept = value & (kHard | kReset | kPowerCycle);
    const uint8_t old = value_.exchange(kept, std::memory_order_relaxed);
    if ((kept & kReset) && !(old & kReset)) {
      host_.RequestEnd(RunEndKind::kReset, "reset control register, port 0xcf9");
    }
  }

 private:
  static constexpr uint8_t kHard = 0x02;
  static constexpr uint8_t kReset = 0x04;
  static constexpr uint8_t kPowerCycle = 0x08;
  DeviceHost& host_;
  std::atomic<uint8_t> value_{0};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_RESET_CONTROL_H_
