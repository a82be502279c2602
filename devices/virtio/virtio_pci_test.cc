#include "devices/virtio/virtio_pci.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "devices/device_host_fake.h"
#include "devices/io_handler_conformance.h"
#include "devices/pci/pci_bus.h"
#include "devices/virtio/guest_driver_fake.h"
#include "gtest/gtest.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

// Gives back whatever queue 0 offers, having counted it; fails at what queue 1 offers.
class EchoDevice : public VirtioDevice {
 public:
  explicit EchoDevice(int* handled) : handled_(handled) {}
  const Traits& traits() const override { return traits_; }
  void ReadConfig(uint64_t offset, absl::Span<uint8_t> data) const override {
    const uint8_t config[] = {1, 2, 3};
    ReadBytes(config, offset, data);
  }
  absl::StatusOr<QueueProgress> HandleQueue(uint16_t index, QueueContext& context) override {
    DescriptorChain chain;
    absl::StatusOr<bool> popped = context.queue().Pop(&chain);
    if (!popped.ok()) return popped.status();
    if (!*popped) return QueueProgress::kDone;
    if (index == 1) return absl::InternalError("test: broken");
    context.queue().Push(chain, 7);
    context.Defer([this] { ++*handled_; });
    return QueueProgress::kMore;  // one at a time: the transport must come back
  }

 private:
  int* const handled_;
  const Traits traits_ = {
      .name = "echo", .type = 63, .pci_class = 0xff0000, .features = 1, .queue_sizes = {64, 64}};
};

using Field = GuestDriverFake::Field;
constexpr uint8_t kNeedsReset = 64;

class VirtioPciTest : public testing::Test {
 protected:
  VirtioPciTest() {
    CHECK_OK(host_.Plug([this](DeviceHost& host) {
      return PciBus::Create(host, {[this](DeviceHost& h) {
                              return VirtioPci::Create(h, std::make_unique<EchoDevice>(&handled_));
                            }});
    }));
    driver_ = std::make_unique<GuestDriverFake>(host_, 1);
  }
  int Sent(uint32_t data) {
    const auto messages = host_.TakeMessages();
    return static_cast<int>(
        std::count(messages.begin(), messages.end(), DeviceHostFake::Message{0xfee00000, data}));
  }

  int handled_ = 0;  // on the loop's thread; read after Settle
  DeviceHostFake host_;
  std::unique_ptr<GuestDriverFake> driver_;
};

TEST_F(VirtioPciTest, IdentifiesAsAModernDevice) {
  EXPECT_EQ(driver_->Config(0), 0x107f1af4u);
  EXPECT_GE(driver_->Config(8, 1), 1u) << "revision";
  EXPECT_EQ(driver_->OfferedFeatures(), uint64_t{1} | 3u << 28 | uint64_t{1} << 32);
  EXPECT_EQ(driver_->Common(Field::kNumQueues, 2), 2u);
  EXPECT_EQ(host_.ReadMmio(driver_->device_config_gpa(), 4), 0xff030201u);
}

TEST_F(VirtioPciTest, ServesItsQueueByDoorbellAndMsix) {
  driver_->Start(1);
  driver_->Offer(0, "a");
  driver_->Offer(0, "b");
  EXPECT_TRUE(host_.RingDoorbell(driver_->notify_gpa(0))) << "an ioeventfd";
  host_.Settle();
  EXPECT_EQ(handled_, 2);
  for (uint32_t head = 0; head < 2; ++head) {
    const auto used = driver_->TakeUsed(0);
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->head, head);
    EXPECT_EQ(used->written, 7u);
  }
  EXPECT_GE(Sent(0x41), 1);
}

TEST_F(VirtioPciTest, ADoorbellWithoutIoEventIsServedToo) {
  driver_->Start();
  host_.RefuseIoEvents();
  const uint32_t bar = driver_->Config(0x10);
  driver_->SetConfig(0x10, bar + 0x10'0000);  // moving it asks for new ioeventfds
  GuestDriverFake moved(host_, 1, 0x80000);
  EXPECT_EQ(moved.common_gpa(), bar + 0x10'0000);
  moved.Start();
  moved.Offer(0, "a");
  EXPECT_FALSE(host_.RingDoorbell(moved.notify_gpa(0)));
  moved.Notify(0);
  host_.Settle();
  EXPECT_EQ(handled_, 1);
}

TEST_F(VirtioPciTest, DoorbellsMoveWithTheBar) {
  const uint64_t before = driver_->notify_gpa(0);
  driver_->SetConfig(4, 0, 2);
  EXPECT_FALSE(host_.RingDoorbell(before));
  driver_->SetConfig(4, 2, 2);
  EXPECT_TRUE(host_.RingDoorbell(before));
}

TEST_F(VirtioPciTest, RefusesFeaturesItDidNotOffer) {
  driver_->Reset();
  driver_->SetCommon(Field::kStatus, 1, 3);
  driver_->SetCommon(Field::kDriverFeatureSelect, 4, 0);
  driver_->SetCommon(Field::kDriverFeature, 4, 2);
  driver_->SetCommon(Field::kDriverFeatureSelect, 4, 1);
  driver_->SetCommon(Field::kDriverFeature, 4, 1);
  driver_->SetCommon(Field::kStatus, 1, 11);
  EXPECT_EQ(driver_->status(), 3) << "FEATURES_OK must not stand";
}

TEST_F(VirtioPciTest, RefusesALegacyDriver) {
  driver_->Reset();
  driver_->SetCommon(Field::kStatus, 1, 3);
  driver_->SetCommon(Field::kStatus, 1, 11);
  EXPECT_EQ(driver_->status(), 3);
  driver_->SetCommon(Field::kStatus, 1, 7);
  EXPECT_EQ(driver_->status(), 3) << "nor DRIVER_OK without FEATURES_OK";
}

TEST_F(VirtioPciTest, ResetForgetsEverything) {
  driver_->Start(1);
  driver_->Reset();
  EXPECT_EQ(driver_->status(), 0);
  EXPECT_EQ(driver_->Common(Field::kQueueEnable, 2), 0u);
  EXPECT_EQ(driver_->Common(Field::kQueueSize, 2), 64u);
  EXPECT_EQ(driver_->Common(Field::kDesc, 4), 0u);
  EXPECT_EQ(driver_->Common(Field::kQueueVector, 2), 0xffffu);
  driver_->Offer(0, "late");
  driver_->Notify(0);
  host_.Settle();
  EXPECT_EQ(handled_, 0) << "a reset device touches no ring";
  driver_->Start();
  driver_->Offer(0, "again");
  driver_->Notify(0);
  host_.Settle();
  EXPECT_EQ(handled_, 1);
}

TEST_F(VirtioPciTest, AnAbsentQueueReadsAsSizeZero) {
  driver_->SetCommon(Field::kQueueSelect, 2, 2);
  EXPECT_EQ(driver_->Common(Field::kQueueSize, 2), 0u);
  driver_->SetCommon(Field::kQueueEnable, 2, 1);
  EXPECT_EQ(driver_->Common(Field::kQueueEnable, 2), 0u);
}

TEST_F(VirtioPciTest, ImpossibleVectorsReadBackAsNone) {
  driver_->SetCommon(Field::kQueueSelect, 2, 0);
  driver_->SetCommon(Field::kQueueVector, 2, 3);
  EXPECT_EQ(driver_->Common(Field::kQueueVector, 2), 0xffffu);
  driver_->SetCommon(Field::kConfigVector, 2, 2);
  EXPECT_EQ(driver_->Common(Field::kConfigVector, 2), 2u);
}

TEST_F(VirtioPciTest, ImpossibleSizesAreIgnored) {
  driver_->SetCommon(Field::kQueueSelect, 2, 0);
  for (uint16_t size : {0, 3, 128, 0xffff}) {
    driver_->SetCommon(Field::kQueueSize, 2, size);
    EXPECT_EQ(driver_->Common(Field::kQueueSize, 2), 64u) << size;
  }
}

TEST_F(VirtioPciTest, ABrokenRingAsksForAResetAndRests) {
  driver_->Start();
  CHECK_OK(host_.memory().WriteObject<uint16_t>(driver_->ring(0).driver + 2, 0x4000));
  driver_->Notify(0);
  host_.Settle();
  EXPECT_EQ(driver_->status(), 15 | kNeedsReset);
  EXPECT_EQ(Sent(0x40), 1) << "the configuration interrupt";
  EXPECT_EQ(host_.ReadMmio(driver_->isr_gpa(), 1), 2u);
  EXPECT_EQ(host_.ReadMmio(driver_->isr_gpa(), 1), 0u) << "reading cleared it";
  driver_->Start();
  EXPECT_EQ(driver_->status(), 15);
  driver_->Offer(0, "a");
  driver_->Notify(0);
  host_.Settle();
  EXPECT_EQ(handled_, 1);
}

TEST_F(VirtioPciTest, ADeviceErrorAsksForAReset) {
  driver_->Start();
  driver_->Offer(1, "a");
  driver_->Notify(1);
  host_.Settle();
  EXPECT_EQ(driver_->status(), 15 | kNeedsReset);
}

TEST_F(VirtioPciTest, ARingOutsideMemoryAsksForAReset) {
  driver_->Start();
  driver_->Reset();
  driver_->SetCommon(Field::kStatus, 1, 3);
  driver_->SetCommon(Field::kDriverFeatureSelect, 4, 1);
  driver_->SetCommon(Field::kDriverFeature, 4, 1);
  driver_->SetCommon(Field::kStatus, 1, 11);
  driver_->SetCommon(Field::kQueueSelect, 2, 0);
  driver_->SetCommon(Field::kDesc, 8, 0xffff'ffff'0000);
  driver_->SetCommon(Field::kQueueEnable, 2, 1);
  EXPECT_EQ(driver_->status(), 11 | kNeedsReset);
  EXPECT_EQ(driver_->Common(Field::kQueueEnable, 2), 0u);
}

// §4.1.4.9: a driver that cannot map BARs reaches them through configuration space.
TEST_F(VirtioPciTest, ConfigurationSpaceIsAWindowToTheBars) {
  const uint32_t window = driver_->FindCapability(0x09, 5);
  ASSERT_NE(window, 0u);
  driver_->SetConfig(window + 4, 0, 1);
  driver_->SetConfig(window + 8, Field::kNumQueues);
  driver_->SetConfig(window + 12, 2);
  EXPECT_EQ(driver_->Config(window + 16, 2), 2u);
  driver_->SetConfig(window + 8, Field::kStatus);
  driver_->SetConfig(window + 12, 1);
  driver_->SetConfig(window + 16, 3, 1);
  EXPECT_EQ(driver_->status(), 3);
  driver_->SetConfig(window + 8, 0x4000);  // outside the BAR
  driver_->SetConfig(window + 16, 0, 1);
  driver_->SetConfig(window + 4, 5, 1);  // no such BAR
  driver_->SetConfig(window + 16, 0, 1);
  EXPECT_EQ(driver_->status(), 3);
}

IoHandlerUnderTest MakeRegisters() {
  struct Owner {
    int handled = 0;
    std::unique_ptr<VirtioPci> pci;
    DeviceHostFake host;
    ~Owner() {
      host.loop().Stop();
      pci.reset();
    }
  };
  auto owner = std::make_shared<Owner>();
  owner->pci = *VirtioPci::Create(owner->host, std::make_unique<EchoDevice>(&owner->handled));
  IoHandler* handler = &owner->pci->registers();
  return {owner, handler, VirtioPci::kRegistersSize};
}

INSTANTIATE_TEST_SUITE_P(VirtioPci, IoHandlerConformance,
                         testing::Values(IoHandlerCase{"registers", MakeRegisters}),
                         IoHandlerCaseName);

}  // namespace
}  // namespace watchsnap
