#include "snapshot/session/session_failure.h"

#include <optional>

#include "absl/strings/cord.h"

namespace watchsnap {
namespace {

constexpr char kPayload[] = "watchsnap.session_failure";

}  // namespace

absl::Status MarkSessionFailure(absl::Status status, SessionFailure failure) {
  status.SetPayload(kPayload, absl::Cord(std::string(1, static_cast<char>('0' + static_cast<int>(failure)))));
  return status;
}

SessionFailure SessionFailureOf(const absl::Status& status) {
  const std::optional<absl::Cord> payload = status.GetPayload(kPayload);
  if (!payload.has_value() || payload->size() != 1) return SessionFailure::kHost;
  return static_cast<SessionFailure>((*payload)[0] - '0');
}

}  // namespace watchsnap
