// WatchCondition: which of a watch's hits are worth a capture, by the value that was stored.
//
//   WatchCondition::Equal(3)            the new value is 3
//   WatchCondition::Masked(0xff, 0x80)  new & 0xff == 0x80
//   WatchCondition::Range(10, 20)       10 <= new <= 20, as unsigned numbers
//   WatchCondition::Changed()           the store changed the value
//
// The vCPU that hit decides it by itself, without stopping the others: a hit whose condition does not
// hold costs little more than the debug exit. A value, without allocation; any thread.
// Values are the watched bytes as an unsigned number of the watch's length.
#ifndef WATCHSNAP_SNAPSHOT_WATCH_CONDITION_H_
#define WATCHSNAP_SNAPSHOT_WATCH_CONDITION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace watchsnap {

struct WatchCondition {
  // The numbers are those of the wire.
  enum class Kind : uint8_t { kAlways = 0, kChanged = 1, kEqual = 2, kMasked = 3, kRange = 4 };
  static constexpr uint8_t kKinds = 5;

  Kind kind = Kind::kAlways;
  uint64_t first = 0;   // kEqual: the value; kMasked: the mask; kRange: the least
  uint64_t second = 0;  // kMasked: the value under the mask; kRange: the most

  static constexpr WatchCondition Always() { return {}; }
  static constexpr WatchCondition Changed() { return {Kind::kChanged}; }
  static constexpr WatchCondition Equal(uint64_t value) { return {Kind::kEqual, value}; }
  static constexpr WatchCondition Masked(uint64_t mask, uint64_t value) {
    return {Kind::kMasked, mask, value};
  }
  static constexpr WatchCondition Range(uint64_t least, uint64_t most) {
    return {Kind::kRange, least, most};
  }

  constexpr bool Holds(uint64_t old_value, uint64_t new_value) const {
    switch (kind) {
      case Kind::kAlways: return true;
      case Kind::kChanged: return new_value != old_value;
      case Kind::kEqual: return new_value == first;
      case Kind::kMasked: return (new_value & first) == second;
      case Kind::kRange: return first <= new_value && new_value <= second;
    }
    return true;
  }

  bool operator==(const WatchCondition&) const = default;
};

// InvalidArgument for a condition that can never hold: a masked value with bits outside its mask, a
// range whose ends are the wrong way round.
absl::Status CheckWatchCondition(const WatchCondition& condition);

// "always", "changed", "==3", "&0xff==0x80", "10..20"; numbers are decimal or 0x….
// InvalidArgument says what is wrong and what would do.
absl::StatusOr<WatchCondition> ParseWatchCondition(std::string_view text);
std::string WatchConditionText(const WatchCondition& condition);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WATCH_CONDITION_H_
