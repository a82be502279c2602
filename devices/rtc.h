// Rtc: the battery clock of a PC (MC146818) at ports 0x70 and 0x71, with the host's UTC time.
//
// Enough for a kernel that asks the time at boot: it never says "update in progress", has no alarm
// and no interrupts. The time cannot be set; the other CMOS bytes are plain storage.
// Threads: any.
// Constants: Motorola MC146818A, address map and registers A–D.
#ifndef WATCHSNAP_DEVICES_RTC_H_
#define WATCHSNAP_DEVICES_RTC_H_

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "vmm/device_host.h"
#include "vmm/io_handler.h"

namespace watchsnap {

class Rtc : public Device, public IoHandler {
 public:
  static constexpr uint64_t kPort = 0x70;
  static constexpr uint64_t kSize = 2;  // +0 index, +1 data

  // `now` gives seconds since 1970; the host's clock if empty.
  static absl::StatusOr<std::unique_ptr<Rtc>> Create(DeviceHost& host,
                                                     std::function<time_t()> now = nullptr);

  std::string_view Name() const override { return "rtc"; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

 private:
  explicit Rtc(std::function<time_t()> now) : now_(std::move(now)) {}
  uint8_t ReadCell(uint8_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::function<time_t()> now_;
  absl::Mutex mutex_;
  uint8_t index_ ABSL_GUARDED_BY(mutex_) = 0;
  std::array<uint8_t, 128> cells_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_RTC_H_
