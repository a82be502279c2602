#include "devices/uart.h"

#include <memory>
#include <string>
#include <utility>

#include "devices/device_host_fake.h"
#include "devices/io_handler_conformance.h"
#include "gtest/gtest.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

constexpr uint16_t kPort = layout::kUartPort;
constexpr uint16_t kIer = kPort + 1, kIir = kPort + 2, kFcr = kPort + 2, kLcr = kPort + 3,
                   kMcr = kPort + 4, kLsr = kPort + 5, kMsr = kPort + 6, kScr = kPort + 7;

class UartTest : public testing::Test {
 protected:
  UartTest() {
    auto uart = Uart::Create(host_, [this](std::string_view bytes) { output_.append(bytes); });
    CHECK(uart.ok()) << uart.status();
    uart_ = *std::move(uart);
  }
  uint64_t In(uint16_t port) { return host_.In(port, 1); }
  void Out(uint16_t port, uint8_t value) { host_.Out(port, 1, value); }
  int Interrupts() { return host_.InterruptCount(layout::kUartIrq); }

  DeviceHostFake host_;
  std::string output_;
  std::unique_ptr<Uart> uart_;
};

TEST_F(UartTest, WritesGoToTheSink) {
  for (char c : std::string("hello\n")) Out(kPort, c);
  EXPECT_EQ(output_, "hello\n");
  EXPECT_EQ(In(kLsr) & 0x60, 0x60u) << "the transmitter is always empty";
}

TEST_F(UartTest, TheDivisorIsNotOutput) {
  Out(kLcr, 0x80);
  Out(kPort, 0x12);
  Out(kIer, 0x34);
  EXPECT_EQ(In(kPort), 0x12u);
  EXPECT_EQ(In(kIer), 0x34u);
  Out(kLcr, 0x03);
  EXPECT_EQ(In(kIer), 0u);
  EXPECT_EQ(output_, "");
}

// The steps by which Linux' 8250 driver recognises a 16550A.
TEST_F(UartTest, IsRecognisedAsA16550A) {
  Out(kIer, 0);
  EXPECT_EQ(In(kIer) & 0x0f, 0u);
  Out(kIer, 0xff);
  EXPECT_EQ(In(kIer), 0x0fu) << "the upper bits would be another chip's";
  Out(kIer, 0);
  Out(kMcr, 0x10 | 0x0a);  // loop-back, RTS and OUT2
  EXPECT_EQ(In(kMsr) & 0xf0, 0x90u);
  Out(kMcr, 0);
  Out(kFcr, 0x01);
  EXPECT_EQ(In(kIir) >> 6, 3u);
  Out(kScr, 0xa7);
  EXPECT_EQ(In(kScr), 0xa7u);
}

TEST_F(UartTest, TransmitInterruptsFollowEachByteUntilDisabled) {
  Out(kMcr, 0x08);
  EXPECT_EQ(In(kIir), 0x01u);
  Out(kIer, 0x02);
  EXPECT_EQ(Interrupts(), 1) << "enabling reports the empty transmitter";
  EXPECT_EQ(In(kIir), 0x02u);
  EXPECT_EQ(In(kIir), 0x01u) << "reading the cause acknowledged it";
  Out(kPort, 'a');
  EXPECT_EQ(Interrupts(), 2);
  EXPECT_EQ(In(kIir), 0x02u);
  Out(kIer, 0x00);
  Out(kPort, 'b');
  EXPECT_EQ(Interrupts(), 2);
  Out(kIer, 0x02);
  EXPECT_EQ(Interrupts(), 3) << "the driver's own test: enabling again reports again";
}

TEST_F(UartTest, TheInterruptLineIsGatedByOut2) {
  Out(kIer, 0x02);
  Out(kPort, 'a');
  EXPECT_EQ(Interrupts(), 0);
  Out(kMcr, 0x08);
  EXPECT_EQ(Interrupts(), 1);
}

TEST_F(UartTest, InputIsReadInOrderAndInterrupts) {
  Out(kMcr, 0x08);
  Out(kIer, 0x01);
  uart_->Input("ok");
  EXPECT_EQ(Interrupts(), 1);
  EXPECT_EQ(In(kIir), 0x04u);
  EXPECT_EQ(In(kLsr) & 1, 1u);
  EXPECT_EQ(In(kPort), 'o');
  EXPECT_EQ(In(kPort), 'k');
  EXPECT_EQ(In(kLsr) & 1, 0u);
  EXPECT_EQ(In(kIir), 0x01u);
}

TEST_F(UartTest, InputIsBounded) {
  uart_->Input(std::string(2 * Uart::kInputLimit, 'x'));
  size_t count = 0;
  for (; In(kLsr) & 1; ++count) In(kPort);
  EXPECT_EQ(count, Uart::kInputLimit);
}

TEST_F(UartTest, LoopBackReturnsOutputAsInput) {
  Out(kMcr, 0x10);
  Out(kPort, 'z');
  EXPECT_EQ(output_, "");
  EXPECT_EQ(In(kPort), 'z');
}

INSTANTIATE_TEST_SUITE_P(Uart, IoHandlerConformance,
                         testing::Values(IoHandlerCase{
                             "uart",
                             [] {
                               struct Owner {
                                 DeviceHostFake host;
                                 std::unique_ptr<Uart> uart;
                               };
                               auto owner = std::make_shared<Owner>();
                               owner->uart = *Uart::Create(owner->host, nullptr);
                               IoHandler* handler = owner->uart.get();
                               return IoHandlerUnderTest{owner, handler, Uart::kSize};
                             }}),
                         IoHandlerCaseName);

}  // namespace
}  // namespace watchsnap
