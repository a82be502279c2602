// libFuzzer target: a hostile guest in front of a virtio-console, through configuration space,
// BARs, doorbells and guest memory.
//
//   bazel build --config=fuzz //devices/virtio:virtio_console_fuzz
//   bazel-bin/devices/virtio/virtio_console_fuzz -max_total_time=60
//
// The input is a sequence of operations: one byte that chooses, then its operands. Each input
// begins with a console that a well-behaved driver has brought up, so that the rings are one step
// away.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/log_severity.h"
#include "absl/log/globals.h"
#include "devices/device_host_fake.h"
#include "devices/pci/pci_bus.h"
#include "devices/virtio/control_port.h"
#include "devices/virtio/guest_driver_fake.h"
#include "devices/virtio/virtio_console.h"
#include "devices/virtio/virtio_pci.h"

namespace watchsnap {
namespace {

constexpr uint64_t kRingsBase = 0x10000;  // where GuestDriverFake puts the rings

class Input {
 public:
  explicit Input(absl::Span<const uint8_t> bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  // Zero where the input has ended.
  uint64_t Take(size_t count) {
    count = std::min(count, rest_.size());
    const uint64_t value = LoadLittleEndian(rest_.subspan(0, count));
    rest_.remove_prefix(count);
    return value;
  }
  absl::Span<const uint8_t> TakeBytes(size_t count) {
    const absl::Span<const uint8_t> bytes = rest_.subspan(0, count);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

 private:
  absl::Span<const uint8_t> rest_;
};

void RunInput(Input input) {
  DeviceHostFake host(2 << 20);
  auto control = std::make_shared<ControlPort>(4096);
  ControlPort* echo = control.get();
  control->SetReceiver(
      [echo](absl::Span<const uint8_t> bytes) { echo->Send(bytes).IgnoreError(); });
  CHECK_OK(host.Plug([&](DeviceHost& h) {
    return PciBus::Create(h, {[&](DeviceHost& inner) {
                            return VirtioPci::Create(
                                inner, *VirtioConsole::Create(
                                           {{"", std::make_shared<ConsolePort>()},
                                            {std::string(kControlPortName), control}}));
                          }});
  }));
  GuestDriverFake driver(host, 1, kRingsBase);
  driver.Start(driver.OfferedFeatures());
  const uint64_t common = driver.common_gpa(), msix = driver.msix_gpa();
  for (int steps = 0; steps < 256 && !input.empty(); ++steps) {
    const uint8_t op = static_cast<uint8_t>(input.Take(1));
    const size_t width = size_t{1} << (op >> 6);
    switch (op % 8) {
      case 0:  // a register
        host.WriteMmio(common + input.Take(1) % 64, width, input.Take(width));
        break;
      case 1:  // a register of any structure
        host.WriteMmio(common + input.Take(2) % 0x4000, width, input.Take(width));
        break;
      case 2:
        host.ReadMmio(common + input.Take(2) % 0x4000, width);
        break;
      case 3:  // configuration space
        driver.SetConfig(input.Take(1), static_cast<uint32_t>(input.Take(4)),
                         std::min<size_t>(width, 4));
        break;
      case 4:
        host.WriteMmio(msix + input.Take(2) % 0x1000, width, input.Take(width));
        break;
      case 5: {  // rings and buffers
        const uint64_t gpa = kRingsBase + input.Take(3) % 0x60000;
        host.memory().Write(gpa, input.TakeBytes(input.Take(1))).IgnoreError();
        break;
      }
      case 6:
        driver.Notify(static_cast<uint16_t>(op >> 3) % 6);
        break;
      case 7:
        if (op & 8) {
          host.Settle();
        } else {
          const uint8_t bytes[] = {1, 2, 3};
          control->Send(bytes).IgnoreError();
        }
        break;
    }
  }
  host.Settle();
}

}  // namespace
}  // namespace watchsnap

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::SetMinLogLevel(absl::LogSeverityAtLeast::kError);
  watchsnap::RunInput(watchsnap::Input(absl::MakeConstSpan(data, size)));
  return 0;
}
