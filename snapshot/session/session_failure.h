// Marks a Status with the reason why a session could not be had, as a payload that survives copying;
// read back by SessionFailureOf (snapshot/vm_session.h). Unmarked statuses are kHost.
#ifndef WATCHSNAP_SNAPSHOT_SESSION_SESSION_FAILURE_H_
#define WATCHSNAP_SNAPSHOT_SESSION_SESSION_FAILURE_H_

#include "absl/status/status.h"
#include "snapshot/vm_session.h"

namespace watchsnap {

absl::Status MarkSessionFailure(absl::Status status, SessionFailure failure);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SESSION_SESSION_FAILURE_H_
