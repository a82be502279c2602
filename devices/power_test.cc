#include "devices/power.h"

#include <memory>
#include <vector>

#include "devices/device_host_fake.h"
#include "devices/io_handler_conformance.h"
#include "devices/reset_control.h"
#include "gtest/gtest.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

class PowerTest : public testing::Test {
 protected:
  PowerTest() {
    CHECK_OK(host_.Plug([](DeviceHost& host) { return PowerControl::Create(host); }));
  }
  std::vector<RunEndKind> Ends() {
    std::vector<RunEndKind> kinds;
    for (const RunEnd& end : host_.ends()) kinds.push_back(end.kind);
    return kinds;
  }
  using Kinds = std::vector<RunEndKind>;
  DeviceHostFake host_;
};

TEST_F(PowerTest, S5PowersOff) {
  host_.Out(layout::kAcpiSleepControl, 1, layout::kAcpiSleepTypeS5 << 2 | 1 << 5);
  EXPECT_EQ(Ends(), Kinds({RunEndKind::kPowerOff}));
}

TEST_F(PowerTest, OtherSleepTypesAndMissingEnableDoNothing) {
  host_.Out(layout::kAcpiSleepControl, 1, layout::kAcpiSleepTypeS5 << 2);
  host_.Out(layout::kAcpiSleepControl, 1, 3 << 2 | 1 << 5);
  host_.Out(layout::kAcpiSleepStatus, 1, layout::kAcpiSleepTypeS5 << 2 | 1 << 5);
  EXPECT_EQ(Ends(), Kinds());
}

TEST_F(PowerTest, TheAcpiResetRegisterTakesItsValueOnly) {
  host_.Out(layout::kAcpiReset, 1, layout::kAcpiResetValue + 1);
  EXPECT_EQ(Ends(), Kinds());
  host_.Out(layout::kAcpiReset, 1, layout::kAcpiResetValue);
  EXPECT_EQ(Ends(), Kinds({RunEndKind::kReset}));
}

TEST_F(PowerTest, TheKeyboardControllerPulsesReset) {
  host_.Out(layout::kI8042CommandPort, 1, 0xaa);  // self-test: there is no controller
  host_.Out(layout::kI8042CommandPort, 1, 0xff);  // pulses nothing
  EXPECT_EQ(Ends(), Kinds());
  host_.Out(layout::kI8042CommandPort, 1, 0xfe);
  EXPECT_EQ(Ends(), Kinds({RunEndKind::kReset}));
}

TEST_F(PowerTest, TheKeyboardControllerLooksAbsentAndNeverBusy) {
  EXPECT_EQ(host_.In(layout::kI8042CommandPort, 1) & 1, 1u) << "output that never runs dry";
  EXPECT_EQ(host_.In(layout::kI8042CommandPort, 1) & 2, 0u) << "input buffer free: no waiting";
  EXPECT_EQ(host_.In(0x60, 1), 0xffu);
}

TEST_F(PowerTest, ResetControlNeedsARisingResetBit) {
  ResetControl control(host_);
  control.Write(0x02);
  EXPECT_EQ(Ends(), Kinds());
  EXPECT_EQ(control.Read(), 0x02);
  control.Write(0x06);
  EXPECT_EQ(Ends(), Kinds({RunEndKind::kReset}));
  control.Write(0x0e);
  EXPECT_EQ(Ends().size(), 1u) << "the bit stood already";
  control.Write(0x00);
  control.Write(0x0e);
  EXPECT_EQ(Ends().size(), 2u);
}

template <typename Handler, typename... Args>
IoHandlerUnderTest Make(uint64_t size, Args... args) {
  struct Owner {
    explicit Owner(Args... a) : handler(host, a...) {}
    DeviceHostFake host;
    Handler handler;
  };
  auto owner = std::make_shared<Owner>(args...);
  IoHandler* handler = &owner->handler;
  return {owner, handler, size};
}

INSTANTIATE_TEST_SUITE_P(
    Power, IoHandlerConformance,
    testing::Values(
        IoHandlerCase{"acpi",
                      [] { return Make<AcpiPowerRegisters>(AcpiPowerRegisters::kSize); }},
        IoHandlerCase{"i8042_data", [] { return Make<I8042Port>(1, I8042Port::kData); }},
        IoHandlerCase{"i8042_command", [] { return Make<I8042Port>(1, I8042Port::kCommand); }}),
    IoHandlerCaseName);

}  // namespace
}  // namespace watchsnap
