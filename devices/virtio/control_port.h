// ControlPort: the port by which programs in the guest talk to watchsnap: port 1 of the console.
//
// A program finds it by its name: the directory in /sys/class/virtio-ports whose file `name` holds
// kControlPortName is called as the device in /dev is (vport0p1, say).
// See console_port.h for threads, bounds and errors.
#ifndef WATCHSNAP_DEVICES_VIRTIO_CONTROL_PORT_H_
#define WATCHSNAP_DEVICES_VIRTIO_CONTROL_PORT_H_

#include <string_view>

#include "devices/virtio/console_port.h"

namespace watchsnap {

using ControlPort = ConsolePort;

inline constexpr std::string_view kControlPortName = "watchsnap.control";

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_CONTROL_PORT_H_
