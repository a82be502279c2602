// Every virtio device of this folder under the conformance suite, and what the rng alone must do.
#include "devices/virtio/virtio_device_conformance.h"

#include <memory>
#include <string>

#include "devices/virtio/control_port.h"
#include "devices/virtio/virtio_console.h"
#include "devices/virtio/virtio_rng.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

std::unique_ptr<VirtioDevice> MakeConsole() {
  auto control = std::make_shared<ControlPort>();
  ControlPort* echo = control.get();
  control->SetReceiver(
      [echo](absl::Span<const uint8_t> bytes) { echo->Send(bytes).IgnoreError(); });
  return *VirtioConsole::Create({{"", std::make_shared<ConsolePort>()},
                                 {std::string(kControlPortName), std::move(control)}});
}

INSTANTIATE_TEST_SUITE_P(
    Virtio, VirtioDeviceConformance,
    testing::Values(VirtioDeviceCase{"console", MakeConsole},
                    VirtioDeviceCase{"rng", [] { return std::make_unique<VirtioRng>(); }}),
    VirtioDeviceCaseName);

class VirtioRngTest : public testing::Test {
 protected:
  VirtioRngTest() {
    CHECK_OK(host_.Plug([](DeviceHost& host) {
      return PciBus::Create(host, {[](DeviceHost& h) {
                              return VirtioPci::Create(h, std::make_unique<VirtioRng>());
                            }});
    }));
    driver_ = std::make_unique<GuestDriverFake>(host_, 1);
    driver_->Start();
  }
  std::string Ask(uint32_t length) {
    driver_->OfferRoom(0, length);
    driver_->Notify(0);
    host_.Settle();
    auto used = driver_->TakeUsed(0);
    CHECK(used.has_value());
    return driver_->Bytes(0, *used);
  }
  DeviceHostFake host_;
  std::unique_ptr<GuestDriverFake> driver_;
};

TEST_F(VirtioRngTest, GivesBytesThatDiffer) {
  const std::string first = Ask(64), second = Ask(64);
  EXPECT_EQ(first.size(), 64u);
  EXPECT_NE(first, second);
  EXPECT_NE(first, std::string(64, '\0'));
}

TEST_F(VirtioRngTest, OneRequestIsBounded) {
  EXPECT_EQ(Ask(1 << 20).size(), VirtioRng::kMaxBytes);
}

}  // namespace
}  // namespace watchsnap
