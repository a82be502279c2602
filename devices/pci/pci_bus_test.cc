#include "devices/pci/pci_bus.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "devices/device_host_fake.h"
#include "devices/io_handler_conformance.h"
#include "gtest/gtest.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

// Remembers the last write; reads as a constant.
class Scratch : public IoHandler {
 public:
  std::string_view Name() const override { return "scratch"; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override {
    StoreLittleEndian(0x1000 + offset, data);
  }
  void Write(uint64_t, absl::Span<const uint8_t>) override {}
};

class TestFunction : public PciFunction {
 public:
  TestFunction(DeviceHost& host, uint32_t bar_size)
      : PciFunction(host, "test-function",
                    {.vendor = 0x1234, .device = 0x5678, .class_code = 0x020304, .revision = 9}),
        msix_(*Msix::Create(host, "test-function", 3)) {
    AddBar(0, bar_size, &scratch_);
    AddMsix(msix_.get(), 1);
    AddCapability(0x09, {4, 0xaa}, {0, 0x0f});
  }
  Msix& msix() { return *msix_; }

 private:
  Scratch scratch_;
  std::unique_ptr<Msix> msix_;
};

class PciBusTest : public testing::Test {
 protected:
  void Plug(uint32_t bar_size = 0x4000) {
    CHECK_OK(host_.Plug([&](DeviceHost& host) {
      return PciBus::Create(host, {[&](DeviceHost& h) {
                              auto function = std::make_unique<TestFunction>(h, bar_size);
                              function_ = function.get();
                              return function;
                            }});
    }));
  }
  // Configuration space of device 1.
  static uint64_t Ecam(uint32_t offset, uint32_t device = 1) {
    return layout::kPciEcamBase + device * 0x8000 + offset;
  }
  uint32_t Config(uint32_t offset, size_t width = 4) {
    return static_cast<uint32_t>(host_.ReadMmio(Ecam(offset), width));
  }
  void SetConfig(uint32_t offset, uint32_t value, size_t width = 4) {
    host_.WriteMmio(Ecam(offset), width, value);
  }
  uint32_t FindCapability(uint8_t id) {
    for (uint32_t at = Config(0x34, 1); at != 0; at = Config(at + 1, 1)) {
      if (Config(at, 1) == id) return at;
    }
    return 0;
  }

  DeviceHostFake host_;
  TestFunction* function_ = nullptr;
};

TEST_F(PciBusTest, BothMechanismsShowTheSameFunction) {
  Plug();
  EXPECT_EQ(Config(0), 0x56781234u);
  EXPECT_EQ(Config(8), 0x02030409u);
  host_.Out(0xcf8, 4, 0x80000800);
  EXPECT_EQ(host_.In(0xcf8, 4), 0x80000800u);
  EXPECT_EQ(host_.In(0xcfc, 4), 0x56781234u);
  EXPECT_EQ(host_.In(0xcfe, 2), 0x5678u);
  host_.Out(0xcf8, 4, 0x00000800);  // not enabled
  EXPECT_EQ(host_.In(0xcfc, 4), 0xffffffffu);
}

// What Linux checks before it trusts mechanism #1: a byte at 0xCFB is not the address register, and
// bus 0 has a host bridge.
TEST_F(PciBusTest, PassesLinuxsSanityChecks) {
  Plug();
  host_.Out(0xcfb, 1, 0x01);
  host_.Out(0xcf8, 4, 0x80000000);
  EXPECT_EQ(host_.In(0xcf8, 4), 0x80000000u);
  EXPECT_EQ(host_.ReadMmio(Ecam(0x0a, 0), 2), 0x0600u);
  EXPECT_EQ(host_.ends().size(), 0u);
}

TEST_F(PciBusTest, ByteWritesAt0xCF9AreTheResetControl) {
  Plug();
  host_.Out(0xcf9, 1, 0x02);
  host_.Out(0xcf9, 1, 0x0e);
  ASSERT_EQ(host_.ends().size(), 1u);
  EXPECT_EQ(host_.ends()[0].kind, RunEndKind::kReset);
}

TEST_F(PciBusTest, WhatIsNotThereReadsAsOnes) {
  Plug();
  EXPECT_EQ(host_.ReadMmio(Ecam(0, 2), 4), 0xffffffffu);
  EXPECT_EQ(host_.ReadMmio(Ecam(0) + 0x1000, 4), 0xffffffffu) << "function 1";
  host_.Out(0xcf8, 4, 0x80010000);  // bus 1
  EXPECT_EQ(host_.In(0xcfc, 4), 0xffffffffu);
  EXPECT_EQ(Config(0x100), 0u) << "extended space of a function: present and empty";
}

TEST_F(PciBusTest, FirmwareHasPlacedAndEnabledTheBars) {
  Plug();
  EXPECT_EQ(Config(0x10), layout::kPciMmioBase);
  EXPECT_EQ(Config(0x14), layout::kPciMmioBase + 0x4000);
  EXPECT_EQ(Config(0x04, 2) & 2, 2u);
  EXPECT_EQ(host_.ReadMmio(layout::kPciMmioBase + 8, 4), 0x1008u);
  EXPECT_EQ(Config(0x3c, 2) >> 8, 0u) << "no INTx pin";
}

TEST_F(PciBusTest, BarsAreSizedAndMoved) {
  Plug();
  SetConfig(0x04, 0, 2);  // as Linux does while it sizes
  EXPECT_EQ(host_.ReadMmio(layout::kPciMmioBase, 4), 0xffffffffu) << "decoding is off";
  SetConfig(0x10, 0xffffffff);
  EXPECT_EQ(~Config(0x10) + 1, 0x4000u);
  SetConfig(0x18, 0xffffffff);
  EXPECT_EQ(Config(0x18), 0u) << "no such BAR";
  const uint32_t elsewhere = layout::kPciMmioBase + 0x10'0000;
  SetConfig(0x10, elsewhere);
  SetConfig(0x04, 2, 2);
  EXPECT_EQ(host_.ReadMmio(elsewhere + 4, 4), 0x1004u);
  EXPECT_EQ(host_.ReadMmio(layout::kPciMmioBase, 4), 0xffffffffu);
  SetConfig(0x10, layout::kPciMmioBase);  // while decoding
  EXPECT_EQ(host_.ReadMmio(layout::kPciMmioBase + 4, 4), 0x1004u);
  EXPECT_EQ(host_.ReadMmio(elsewhere + 4, 4), 0xffffffffu);
}

TEST_F(PciBusTest, ABarMovedOntoAnotherIsUnreachableUntilItMovesOn) {
  Plug();
  SetConfig(0x10, layout::kPciEcamBase);
  EXPECT_EQ(Config(0), 0x56781234u) << "ECAM is still ECAM";
  SetConfig(0x10, layout::kPciMmioBase);
  EXPECT_EQ(host_.ReadMmio(layout::kPciMmioBase, 4), 0x1000u);
}

TEST_F(PciBusTest, ReadOnlyBitsStay) {
  Plug();
  SetConfig(0, 0);
  SetConfig(8, 0);
  EXPECT_EQ(Config(0), 0x56781234u);
  EXPECT_EQ(Config(8), 0x02030409u);
  const uint32_t capability = FindCapability(0x09);
  ASSERT_NE(capability, 0u);
  SetConfig(capability, 0xffffffff);
  EXPECT_EQ(Config(capability) >> 24, 0xafu);
  EXPECT_EQ(Config(capability, 1), 0x09u);
}

TEST_F(PciBusTest, ABarThatDoesNotFitIsAnErrorThatNamesIt) {
  absl::Status status = host_.Plug([&](DeviceHost& host) {
    return PciBus::Create(
        host, {[&](DeviceHost& h) { return std::make_unique<TestFunction>(h, 1u << 30); }});
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("test-function"), std::string::npos) << status;
}

// MSI-X, as a driver sees it.
class MsixTest : public PciBusTest {
 protected:
  MsixTest() {
    Plug();
    capability_ = FindCapability(0x11);
    CHECK_NE(capability_, 0u);
    table_ = Config(0x14);
  }
  void Control(uint16_t bits) { SetConfig(capability_ + 2, bits, 2); }
  void Program(int vector, uint64_t address, uint32_t data, bool masked) {
    host_.WriteMmio(table_ + 16 * vector, 4, static_cast<uint32_t>(address));
    host_.WriteMmio(table_ + 16 * vector + 4, 4, address >> 32);
    host_.WriteMmio(table_ + 16 * vector + 8, 4, data);
    host_.WriteMmio(table_ + 16 * vector + 12, 4, masked ? 1 : 0);
  }
  uint64_t Pending() { return host_.ReadMmio(table_ + Msix::kPbaOffset, 8); }
  using Messages = std::vector<DeviceHostFake::Message>;
  static constexpr uint16_t kEnable = 0x8000, kMask = 0x4000;
  uint32_t capability_ = 0;
  uint64_t table_ = 0;
};

TEST_F(MsixTest, TheCapabilityDescribesTheTable) {
  EXPECT_EQ(Config(capability_ + 2, 2), 2u) << "three vectors";
  EXPECT_EQ(Config(capability_ + 4), 1u) << "BAR 1, offset 0";
  EXPECT_EQ(Config(capability_ + 8), Msix::kPbaOffset | 1);
  EXPECT_EQ(host_.ReadMmio(table_ + 12, 4), 1u) << "masked after reset";
}

TEST_F(MsixTest, SendsTheMessageOfItsVector) {
  Program(0, 0xfee00000, 0x41, false);
  Program(2, 0xfee01000, 0x42, false);
  function_->msix().Trigger(0);
  EXPECT_EQ(host_.TakeMessages(), Messages()) << "not enabled yet";
  Control(kEnable);
  function_->msix().Trigger(2);
  function_->msix().Trigger(0);
  EXPECT_EQ(host_.TakeMessages(), Messages({{0xfee01000, 0x42}, {0xfee00000, 0x41}}));
  Program(0, 0xfee02000, 0x51, false);
  function_->msix().Trigger(0);
  EXPECT_EQ(host_.TakeMessages(), Messages({{0xfee02000, 0x51}}));
}

TEST_F(MsixTest, MaskedVectorsPendAndAreSentOnce) {
  Control(kEnable);
  Program(1, 0xfee00000, 0x43, true);
  function_->msix().Trigger(1);
  function_->msix().Trigger(1);
  EXPECT_EQ(host_.TakeMessages(), Messages());
  EXPECT_EQ(Pending(), 2u);
  host_.WriteMmio(table_ + 16 + 12, 4, 0);
  EXPECT_EQ(host_.TakeMessages(), Messages({{0xfee00000, 0x43}}));
  EXPECT_EQ(Pending(), 0u);
}

TEST_F(MsixTest, TheFunctionMaskCoversAllVectors) {
  Program(0, 0xfee00000, 0x41, false);
  Control(kEnable | kMask);
  function_->msix().Trigger(0);
  EXPECT_EQ(host_.TakeMessages(), Messages());
  EXPECT_EQ(Pending(), 1u);
  Control(kEnable);
  EXPECT_EQ(host_.TakeMessages(), Messages({{0xfee00000, 0x41}}));
}

TEST_F(MsixTest, AMessageThatTheHostRefusesIsDropped) {
  host_.RefuseMessages();
  Control(kEnable);
  Program(0, 0xfee00000, 0x41, false);
  function_->msix().Trigger(0);
  EXPECT_EQ(host_.TakeMessages(), Messages());
}

TEST_F(MsixTest, VectorsOutOfRangeAreIgnored) {
  Control(kEnable);
  function_->msix().Trigger(3);
  function_->msix().Trigger(0xffff);
  EXPECT_EQ(host_.TakeMessages(), Messages());
}

// Ports and ECAM are reached through the buses, as a guest would.
class ThroughBus : public IoHandler {
 public:
  ThroughBus(Bus& bus, uint64_t base) : bus_(bus), base_(base) {}
  std::string_view Name() const override { return "bus"; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override { bus_.Read(base_ + offset, data); }
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override {
    bus_.Write(base_ + offset, data);
  }

 private:
  Bus& bus_;
  const uint64_t base_;
};

IoHandlerUnderTest MakeRegion(bool ports) {
  struct Owner {
    DeviceHostFake host;
    std::unique_ptr<ThroughBus> handler;
  };
  auto owner = std::make_shared<Owner>();
  CHECK_OK(owner->host.Plug([](DeviceHost& host) {
    return PciBus::Create(
        host, {[](DeviceHost& h) { return std::make_unique<TestFunction>(h, 0x1000); }});
  }));
  owner->handler = ports ? std::make_unique<ThroughBus>(owner->host.pio(), 0xcf8)
                         : std::make_unique<ThroughBus>(owner->host.mmio(), layout::kPciEcamBase);
  IoHandler* handler = owner->handler.get();
  return {owner, handler, ports ? PciConfigPorts::kSize : 0x10000};
}

IoHandlerUnderTest MakeMsix() {
  struct Owner {
    DeviceHostFake host;
    std::unique_ptr<Msix> msix;
  };
  auto owner = std::make_shared<Owner>();
  owner->msix = *Msix::Create(owner->host, "test", 5);
  owner->msix->SetControl(true, false);
  IoHandler* handler = owner->msix.get();
  return {owner, handler, Msix::kBarSize};
}

INSTANTIATE_TEST_SUITE_P(Pci, IoHandlerConformance,
                         testing::Values(IoHandlerCase{"ports", [] { return MakeRegion(true); }},
                                         IoHandlerCase{"ecam", [] { return MakeRegion(false); }},
                                         IoHandlerCase{"msix", MakeMsix}),
                         IoHandlerCaseName);

}  // namespace
}  // namespace watchsnap
