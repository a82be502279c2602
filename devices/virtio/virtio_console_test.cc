#include "devices/virtio/virtio_console.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "devices/device_host_fake.h"
#include "devices/pci/pci_bus.h"
#include "devices/virtio/control_port.h"
#include "devices/virtio/guest_driver_fake.h"
#include "devices/virtio/virtio_pci.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

constexpr uint16_t kHvcIn = 0, kHvcOut = 1, kControlIn = 2, kControlOut = 3, kPortIn = 4,
                   kPortOut = 5;
constexpr uint64_t kMultiport = 2;
constexpr uint16_t kDeviceReady = 0, kPortAdd = 1, kPortReady = 3, kConsolePort = 4, kPortOpen = 6,
                   kPortName = 7;

absl::Span<const uint8_t> AsBytes(std::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string Control(uint32_t id, uint16_t event, uint16_t value, std::string_view text = {}) {
  std::string bytes(8, '\0');
  std::memcpy(&bytes[0], &id, 4);
  std::memcpy(&bytes[4], &event, 2);
  std::memcpy(&bytes[6], &value, 2);
  return bytes.append(text);
}

class VirtioConsoleTest : public testing::Test {
 protected:
  VirtioConsoleTest() {
    hvc_->SetReceiver([this](absl::Span<const uint8_t> bytes) { Append(hvc_output_, bytes); });
    control_->SetReceiver([this](absl::Span<const uint8_t> bytes) { Append(received_, bytes); });
    CHECK_OK(host_.Plug([this](DeviceHost& host) {
      return PciBus::Create(
          host, {[this](DeviceHost& h) {
            return VirtioPci::Create(h, *VirtioConsole::Create({{"", hvc_},
                                                                {std::string(kControlPortName),
                                                                 control_}}));
          }});
    }));
    driver_ = std::make_unique<GuestDriverFake>(host_, 1);
  }
  void Append(std::string& to, absl::Span<const uint8_t> bytes) {
    absl::MutexLock lock(&mutex_);
    to.append(bytes.begin(), bytes.end());
  }
  std::string Text(const std::string& text) {
    absl::MutexLock lock(&mutex_);
    return text;
  }
  void Tell(const std::string& message) {
    driver_->Offer(kControlOut, message);
    driver_->Notify(kControlOut);
    host_.Settle();
    while (driver_->TakeUsed(kControlOut)) {
    }
  }
  // What the device says on the control queue.
  std::vector<std::string> Heard() {
    host_.Settle();
    std::vector<std::string> messages;
    while (auto used = driver_->TakeUsed(kControlIn)) {
      messages.push_back(driver_->Bytes(kControlIn, *used));
    }
    return messages;
  }
  // Up to the open control port, as Linux does it.
  void BringUp() {
    driver_->Start(kMultiport);
    for (int i = 0; i < 8; ++i) driver_->OfferRoom(kControlIn);
    Tell(Control(0xffffffff, kDeviceReady, 1));
    Tell(Control(0, kPortReady, 1));
    Tell(Control(1, kPortReady, 1));
    Heard();
    Tell(Control(0, kPortOpen, 1));
    Tell(Control(1, kPortOpen, 1));
  }
  std::string ReadPort(uint16_t queue) {
    host_.Settle();
    std::string bytes;
    while (auto used = driver_->TakeUsed(queue)) bytes += driver_->Bytes(queue, *used);
    return bytes;
  }

  absl::Mutex mutex_;
  std::string hvc_output_, received_;
  std::shared_ptr<ConsolePort> hvc_ = std::make_shared<ConsolePort>();
  std::shared_ptr<ControlPort> control_ = std::make_shared<ControlPort>(1000);
  DeviceHostFake host_;
  std::unique_ptr<GuestDriverFake> driver_;
};

TEST_F(VirtioConsoleTest, ConfigurationNamesTwoPorts) {
  EXPECT_EQ(host_.ReadMmio(driver_->device_config_gpa() + 4, 4), 2u);
  EXPECT_EQ(driver_->Common(GuestDriverFake::kNumQueues, 2), 6u);
  EXPECT_TRUE(driver_->OfferedFeatures() & kMultiport);
}

TEST_F(VirtioConsoleTest, AddsNamesAndOpensThePorts) {
  driver_->Start(kMultiport);
  for (int i = 0; i < 8; ++i) driver_->OfferRoom(kControlIn);
  Tell(Control(0xffffffff, kDeviceReady, 1));
  EXPECT_EQ(Heard(), std::vector({Control(0, kPortAdd, 1), Control(1, kPortAdd, 1)}));
  Tell(Control(0, kPortReady, 1));
  EXPECT_EQ(Heard(), std::vector({Control(0, kConsolePort, 1), Control(0, kPortOpen, 1)}));
  Tell(Control(1, kPortReady, 1));
  EXPECT_EQ(Heard(), std::vector({Control(1, kPortName, 1, "watchsnap.control"),
                                  Control(1, kPortOpen, 1)}));
}

TEST_F(VirtioConsoleTest, ControlMessagesWaitForBuffers) {
  driver_->Start(kMultiport);
  Tell(Control(0xffffffff, kDeviceReady, 1));
  Tell(Control(0xffffffff, kDeviceReady, 1));  // repeated: answered once
  EXPECT_EQ(Heard().size(), 0u);
  for (int i = 0; i < 8; ++i) driver_->OfferRoom(kControlIn);
  driver_->Notify(kControlIn);
  EXPECT_EQ(Heard().size(), 2u);
}

TEST_F(VirtioConsoleTest, PortZeroIsTheConsole) {
  BringUp();
  driver_->Offer(kHvcOut, "Linux version");
  driver_->Offer(kHvcOut, " 7.3\n");
  driver_->Notify(kHvcOut);
  host_.Settle();
  EXPECT_EQ(Text(hvc_output_), "Linux version 7.3\n");
  EXPECT_EQ(Text(received_), "");
  driver_->OfferRoom(kHvcIn);
  driver_->Notify(kHvcIn);
  ASSERT_TRUE(hvc_->Send(AsBytes("ls\n")).ok());
  EXPECT_EQ(ReadPort(kHvcIn), "ls\n");
}

TEST_F(VirtioConsoleTest, PortOneCarriesBytesBothWays) {
  BringUp();
  EXPECT_TRUE(control_->guest_open());
  driver_->Offer(kPortOut, "request");
  driver_->Notify(kPortOut);
  host_.Settle();
  EXPECT_EQ(Text(received_), "request");
  ASSERT_TRUE(control_->Send(AsBytes("a long reply")).ok());
  host_.Settle();
  driver_->OfferRoom(kPortIn, 4);
  driver_->OfferRoom(kPortIn);
  driver_->Notify(kPortIn);
  EXPECT_EQ(ReadPort(kPortIn), "a long reply");
}

TEST_F(VirtioConsoleTest, WhatWasSentBeforeTheGuestOpenedArrives) {
  ASSERT_TRUE(control_->Send(AsBytes("early")).ok());
  EXPECT_FALSE(control_->guest_open());
  BringUp();
  driver_->OfferRoom(kPortIn);
  driver_->Notify(kPortIn);
  EXPECT_EQ(ReadPort(kPortIn), "early");
}

TEST_F(VirtioConsoleTest, AReceiverMaySend) {
  control_->SetReceiver(
      [this](absl::Span<const uint8_t> bytes) { EXPECT_TRUE(control_->Send(bytes).ok()); });
  BringUp();
  driver_->OfferRoom(kPortIn);
  driver_->Offer(kPortOut, "echo");
  driver_->Notify(kPortOut);
  EXPECT_EQ(ReadPort(kPortIn), "echo");
}

TEST_F(VirtioConsoleTest, SendIsBoundedAndNeverPartial) {
  BringUp();
  const std::string block(600, 'b');
  EXPECT_TRUE(control_->Send(AsBytes(block)).ok());
  absl::Status status = control_->Send(AsBytes(block));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("600 of at most 1000"), std::string::npos) << status;
  driver_->OfferRoom(kPortIn);
  driver_->Notify(kPortIn);
  EXPECT_EQ(ReadPort(kPortIn), block);
  EXPECT_TRUE(control_->Send(AsBytes(block)).ok());
}

TEST_F(VirtioConsoleTest, ClosingThePortDropsWhatWaits) {
  BringUp();
  ASSERT_TRUE(control_->Send(AsBytes("stale")).ok());
  host_.Settle();
  Tell(Control(1, kPortOpen, 0));
  EXPECT_FALSE(control_->guest_open());
  Tell(Control(1, kPortOpen, 1));
  ASSERT_TRUE(control_->Send(AsBytes("fresh")).ok());
  driver_->OfferRoom(kPortIn);
  driver_->Notify(kPortIn);
  EXPECT_EQ(ReadPort(kPortIn), "fresh");
}

TEST_F(VirtioConsoleTest, ResetClosesThePortsAndStartsOver) {
  BringUp();
  driver_->Reset();
  EXPECT_FALSE(control_->guest_open());
  BringUp();
  EXPECT_TRUE(control_->guest_open());
}

TEST_F(VirtioConsoleTest, SenselessControlMessagesAreIgnored) {
  BringUp();
  Tell("short");
  Tell(Control(2, kPortReady, 1));
  Tell(Control(0xffffffff, kPortOpen, 1));
  Tell(Control(1, 99, 1));
  Tell(Control(1, kPortReady, 0));
  EXPECT_EQ(Heard().size(), 0u);
  EXPECT_EQ(driver_->status(), 15);
  driver_->Offer(kPortOut, "still here");
  driver_->Notify(kPortOut);
  host_.Settle();
  EXPECT_EQ(Text(received_), "still here");
}

TEST_F(VirtioConsoleTest, AHugeBufferAsksForAReset) {
  BringUp();
  // One byte more than is taken, from memory that is all there.
  const uint64_t desc = driver_->ring(kPortOut).desc;
  driver_->Offer(kPortOut, "x");
  CHECK_OK(host_.memory().WriteObject<uint32_t>(desc + 8, VirtioConsole::kMaxChainBytes + 1));
  driver_->Notify(kPortOut);
  host_.Settle();
  EXPECT_EQ(driver_->status(), 15 | 64);
  EXPECT_EQ(Text(received_), "");
}

TEST_F(VirtioConsoleTest, APortServesOneConsoleAtATime) {
  EXPECT_EQ(VirtioConsole::Create({{"", hvc_}}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  auto port = std::make_shared<ConsolePort>();
  ASSERT_TRUE(VirtioConsole::Create({{"", port}}).ok());  // and is destroyed again
  EXPECT_TRUE(VirtioConsole::Create({{"", port}}).ok());
}

TEST_F(VirtioConsoleTest, AReplacedReceiverHearsNoMore) {
  BringUp();
  control_->SetReceiver(nullptr);
  driver_->Offer(kPortOut, "nobody");
  driver_->Notify(kPortOut);
  host_.Settle();
  EXPECT_EQ(Text(received_), "");
  EXPECT_EQ(driver_->status(), 15);
}

}  // namespace
}  // namespace watchsnap
