// StandardDevices: the devices that a stock Linux kernel expects of this machine: COM1, power and
// reset, real-time clock, and a PCI bus with a multiport virtio-console and a virtio-rng.
//
//   MachineConfig config;
//   auto control = std::make_shared<ControlPort>();
//   config.devices = StandardDevices({.console_sink = append_to_log, .control_port = control});
//
// Threads: the factories run on the thread that creates the machine. `uart_sink` is called on vCPU
// threads, `console_sink` on the machine's loop thread, each one call at a time; neither may block
// for long nor call into the machine. A vector of factories serves one machine: a control port
// belongs to one machine at a time.
#ifndef WATCHSNAP_DEVICES_STANDARD_DEVICES_H_
#define WATCHSNAP_DEVICES_STANDARD_DEVICES_H_

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "devices/pci/pci_bus.h"
#include "devices/virtio/control_port.h"
#include "vmm/device_host.h"

namespace watchsnap {

struct StandardDeviceOptions {
  // What the guest writes to hvc0; discarded if empty.
  std::function<void(std::string_view)> console_sink = nullptr;
  // What the guest writes to ttyS0, and earlyprintk; discarded if empty.
  std::function<void(std::string_view)> uart_sink = nullptr;
  // Port 1 of the console. If null the guest has no such port, and finds so at once.
  std::shared_ptr<ControlPort> control_port = nullptr;
  // Port 0, for input to hvc0; made if null. `console_sink`, if set, becomes its receiver.
  std::shared_ptr<ConsolePort> console_port = nullptr;
  // Further functions on the PCI bus, after the console and the rng.
  std::vector<PciFunctionFactory> extra_pci = {};
};

std::vector<DeviceFactory> StandardDevices(StandardDeviceOptions options);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_STANDARD_DEVICES_H_
