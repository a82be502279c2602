#include "devices/rtc.h"

#include <memory>
#include <utility>

#include "devices/device_host_fake.h"
#include "devices/io_handler_conformance.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

std::unique_ptr<Rtc> MakeRtc(DeviceHostFake& host) {
  // 2024-02-29 23:59:58 UTC, a Thursday.
  auto rtc = Rtc::Create(host, [] { return time_t{1709251198}; });
  CHECK(rtc.ok()) << rtc.status();
  return *std::move(rtc);
}

uint64_t Cell(DeviceHostFake& host, uint8_t index) {
  host.Out(Rtc::kPort, 1, index);
  return host.In(Rtc::kPort + 1, 1);
}

TEST(RtcTest, TellsTheTimeInBcd) {
  DeviceHostFake host;
  std::unique_ptr<Rtc> rtc = MakeRtc(host);
  EXPECT_EQ(Cell(host, 0), 0x58u);
  EXPECT_EQ(Cell(host, 2), 0x59u);
  EXPECT_EQ(Cell(host, 4), 0x23u);
  EXPECT_EQ(Cell(host, 6), 0x05u);
  EXPECT_EQ(Cell(host, 7), 0x29u);
  EXPECT_EQ(Cell(host, 8), 0x02u);
  EXPECT_EQ(Cell(host, 9), 0x24u);
  EXPECT_EQ(Cell(host, 0x32), 0x20u);
}

TEST(RtcTest, IsNeverUpdatingAndAlwaysValid) {
  DeviceHostFake host;
  std::unique_ptr<Rtc> rtc = MakeRtc(host);
  EXPECT_EQ(Cell(host, 10) & 0x80, 0u);
  EXPECT_EQ(Cell(host, 11) & 0x06, 0x02u) << "24 hours, BCD";
  EXPECT_EQ(Cell(host, 13), 0x80u);
}

TEST(RtcTest, TheTimeCannotBeSetButCellsCan) {
  DeviceHostFake host;
  std::unique_ptr<Rtc> rtc = MakeRtc(host);
  host.Out(Rtc::kPort, 1, 0x80 | 0);  // with NMIs masked
  host.Out(Rtc::kPort + 1, 1, 0x11);
  EXPECT_EQ(Cell(host, 0), 0x58u);
  host.Out(Rtc::kPort, 1, 0x40);
  host.Out(Rtc::kPort + 1, 1, 0x11);
  EXPECT_EQ(Cell(host, 0x40), 0x11u);
}

INSTANTIATE_TEST_SUITE_P(Rtc, IoHandlerConformance,
                         testing::Values(IoHandlerCase{
                             "rtc",
                             [] {
                               struct Owner {
                                 DeviceHostFake host;
                                 std::unique_ptr<Rtc> rtc = MakeRtc(host);
                               };
                               auto owner = std::make_shared<Owner>();
                               IoHandler* handler = owner->rtc.get();
                               return IoHandlerUnderTest{owner, handler, Rtc::kSize};
                             }}),
                         IoHandlerCaseName);

}  // namespace
}  // namespace watchsnap
