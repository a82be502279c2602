// The guest's way to the control channel: finds the virtio-console port by its name and opens it.
//
// Ports are named after an asynchronous handshake, so their appearance is waited for, up to a
// deadline. The number in /dev/vport<device>p<port> is not relied on.
//
// Threads: one. Errors: DEADLINE_EXCEEDED if no port of that name appeared (the message lists those
// that did), or if the host did not open its end; errors of open().
#ifndef WATCHSNAP_SNAPSHOT_GUEST_INIT_CONTROL_PORT_H_
#define WATCHSNAP_SNAPSHOT_GUEST_INIT_CONTROL_PORT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace watchsnap {

// The name the host gives to port 1 (PORT_NAME in the virtio-console specification).
inline constexpr std::string_view kControlPortName = "watchsnap.control";

struct ControlPortFolders {
  std::string sysfs = "/sys";
  std::string dev = "/dev";
};

// "/dev/vport0p1".
absl::StatusOr<std::string> FindControlPort(const ControlPortFolders& folders,
                                            absl::Duration timeout);

// Opens it for reading and writing, close-on-exec.
absl::StatusOr<int> OpenControlPort(const ControlPortFolders& folders, absl::Duration timeout);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_GUEST_INIT_CONTROL_PORT_H_
