#include "devices/standard_devices.h"

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "devices/power.h"
#include "devices/rtc.h"
#include "devices/uart.h"
#include "devices/virtio/virtio_console.h"
#include "devices/virtio/virtio_pci.h"
#include "devices/virtio/virtio_rng.h"

namespace watchsnap {
namespace {

absl::StatusOr<std::unique_ptr<PciFunction>> OnPci(
    DeviceHost& host, absl::StatusOr<std::unique_ptr<VirtioDevice>> device) {
  if (!device.ok()) return device.status();
  return VirtioPci::Create(host, *std::move(device));
}

}  // namespace

std::vector<DeviceFactory> StandardDevices(StandardDeviceOptions options) {
  if (options.console_port == nullptr) options.console_port = std::make_shared<ConsolePort>();
  if (options.console_sink) {
    options.console_port->SetReceiver(
        [sink = std::move(options.console_sink)](absl::Span<const uint8_t> bytes) {
          sink(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
        });
  }
  std::vector<VirtioConsole::PortOptions> ports = {{"", options.console_port}};
  if (options.control_port != nullptr) {
    ports.push_back({std::string(kControlPortName), options.control_port});
  }
  std::vector<PciFunctionFactory> functions = {
      [ports](DeviceHost& host) { return OnPci(host, VirtioConsole::Create(ports)); },
      [](DeviceHost& host) { return OnPci(host, std::make_unique<VirtioRng>()); },
  };
  functions.insert(functions.end(), options.extra_pci.begin(), options.extra_pci.end());

  return {
      [sink = options.uart_sink](DeviceHost& host) { return Uart::Create(host, sink); },
      [](DeviceHost& host) { return PowerControl::Create(host); },
      [](DeviceHost& host) { return Rtc::Create(host); },
      [functions](DeviceHost& host) { return PciBus::Create(host, functions); },
  };
}

}  // namespace watchsnap
