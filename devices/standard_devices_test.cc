#include "devices/standard_devices.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/log/check.h"
#include "absl/status/status.h"
#include "devices/device_host_fake.h"
#include "devices/virtio/guest_driver_fake.h"
#include "gtest/gtest.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

absl::Status PlugAll(DeviceHostFake& host, const std::vector<DeviceFactory>& factories) {
  for (const DeviceFactory& factory : factories) {
    if (absl::Status status = host.Plug(factory); !status.ok()) return status;
  }
  return absl::OkStatus();
}

TEST(StandardDevicesTest, EverythingAStockKernelLooksForIsThere) {
  std::string uart, console;
  DeviceHostFake host;
  ASSERT_TRUE(PlugAll(host, StandardDevices(
                                {.console_sink = [&](std::string_view s) { console.append(s); },
                                 .uart_sink = [&](std::string_view s) { uart.append(s); }}))
                  .ok());
  host.Out(layout::kUartPort, 1, 'u');
  EXPECT_EQ(uart, "u");
  EXPECT_EQ(host.ReadMmio(layout::kPciEcamBase + 0x8000, 4), 0x10431af4u) << "console";
  EXPECT_EQ(host.ReadMmio(layout::kPciEcamBase + 0x10000, 4), 0x10441af4u) << "rng";
  EXPECT_NE(host.In(0x71, 1), 0xffu) << "clock";
  GuestDriverFake driver(host, 1);
  driver.Start();
  driver.Offer(1, "hvc");
  driver.Notify(1);
  host.Settle();
  EXPECT_EQ(console, "hvc");
  host.Out(layout::kAcpiSleepControl, 1, layout::kAcpiSleepTypeS5 << 2 | 1 << 5);
  EXPECT_EQ(host.ends().size(), 1u);
}

TEST(StandardDevicesTest, TheControlPortIsThereOnlyIfAskedFor) {
  DeviceHostFake without, with;
  ASSERT_TRUE(PlugAll(without, StandardDevices({})).ok());
  auto control = std::make_shared<ControlPort>();
  ASSERT_TRUE(PlugAll(with, StandardDevices({.control_port = control})).ok());
  EXPECT_EQ(GuestDriverFake(without, 1).Common(GuestDriverFake::kNumQueues, 2), 4u);
  EXPECT_EQ(GuestDriverFake(with, 1).Common(GuestDriverFake::kNumQueues, 2), 6u);
}

TEST(StandardDevicesTest, AControlPortServesOneMachineAtATime) {
  const auto devices = StandardDevices({.control_port = std::make_shared<ControlPort>()});
  {
    DeviceHostFake first, second;
    ASSERT_TRUE(PlugAll(first, devices).ok());
    EXPECT_EQ(PlugAll(second, devices).code(), absl::StatusCode::kFailedPrecondition);
  }
  DeviceHostFake third;
  EXPECT_TRUE(PlugAll(third, devices).ok()) << "the first machine is gone";
}

}  // namespace
}  // namespace watchsnap
