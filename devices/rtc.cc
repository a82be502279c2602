#include "devices/rtc.h"

#include <utility>

namespace watchsnap {
namespace {

constexpr uint8_t kSeconds = 0, kMinutes = 2, kHours = 4, kDayOfWeek = 6, kDay = 7, kMonth = 8,
                  kYear = 9;
constexpr uint8_t kRegisterA = 10, kRegisterB = 11, kRegisterC = 12, kRegisterD = 13;
constexpr uint8_t kCentury = 0x32;  // the usual place, named by the FADT where there is one
constexpr uint8_t kDividerAndRate = 0x26;  // 32.768 kHz, no update in progress
constexpr uint8_t k24Hours = 0x02;         // BCD
constexpr uint8_t kValidRamAndTime = 0x80;

uint8_t Bcd(int value) { return static_cast<uint8_t>(value / 10 % 10 << 4 | value % 10); }

}  // namespace

absl::StatusOr<std::unique_ptr<Rtc>> Rtc::Create(DeviceHost& host, std::function<time_t()> now) {
  if (!now) now = [] { return time(nullptr); };
  auto rtc = std::unique_ptr<Rtc>(new Rtc(std::move(now)));
  if (absl::Status s = host.pio().Insert(kPort, kSize, rtc.get()); !s.ok()) return s;
  return rtc;
}

uint8_t Rtc::ReadCell(uint8_t index) {
  const time_t now = now_();
  struct tm utc = {};
  gmtime_r(&now, &utc);
  switch (index) {
    case kSeconds:
      return Bcd(utc.tm_sec);
    case kMinutes:
      return Bcd(utc.tm_min);
    case kHours:
      return Bcd(utc.tm_hour);
    case kDayOfWeek:
      return Bcd(utc.tm_wday + 1);
    case kDay:
      return Bcd(utc.tm_mday);
    case kMonth:
      return Bcd(utc.tm_mon + 1);
    case kYear:
      return Bcd(utc.tm_year % 100);
    case kCentury:
      return Bcd((utc.tm_year + 1900) / 100);
    case kRegisterA:
      return kDividerAndRate;
    case kRegisterB:
      return k24Hours;
    case kRegisterC:
      return 0;
    case kRegisterD:
      return kValidRamAndTime;
    default:
      return cells_[index];
  }
}

void Rtc::Read(uint64_t offset, absl::Span<uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    // The index port is write-only.
    data[i] = offset + i == 1 ? ReadCell(index_) : 0xff;
  }
}

void Rtc::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    if (offset + i == 0) {
      index_ = data[i] & 0x7f;  // bit 7 masks NMIs
    } else if (offset + i == 1) {
      cells_[index_] = data[i];
    }
  }
}

}  // namespace watchsnap
