#include "vmm/bus.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

class Recorder : public IoHandler {
 public:
  explicit Recorder(std::string_view name) : name_(name) {}
  std::string_view Name() const override { return name_; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override {
    offsets.push_back(offset);
    std::fill(data.begin(), data.end(), 0x5a);
  }
  void Write(uint64_t offset, absl::Span<const uint8_t>) override { offsets.push_back(offset); }

  std::vector<uint64_t> offsets;

 private:
  const std::string name_;
};

TEST(BusTest, AccessesReachTheHandlerWithTheirOffset) {
  Bus bus("pio");
  Recorder uart("uart");
  ASSERT_THAT(bus.Insert(0x3f8, 8, &uart), IsOk());
  uint8_t byte = 0;
  EXPECT_TRUE(bus.Read(0x3ff, absl::MakeSpan(&byte, 1)));
  EXPECT_EQ(byte, 0x5a);
  EXPECT_TRUE(bus.Write(0x3f8, absl::MakeConstSpan(&byte, 1)));
  EXPECT_THAT(uart.offsets, testing::ElementsAre(7, 0));
}

TEST(BusTest, WhereNothingIsReadsAreAllOnes) {
  Bus bus("mmio");
  Recorder device("device");
  ASSERT_THAT(bus.Insert(0x1000, 0x1000, &device), IsOk());
  for (uint64_t address : {uint64_t{0}, uint64_t{0xfff}, uint64_t{0x1ffd}, uint64_t{0x2000}, ~uint64_t{0}}) {
    std::vector<uint8_t> data(4, 0);
    EXPECT_FALSE(bus.Read(address, absl::MakeSpan(data))) << address;
    EXPECT_THAT(data, Each(0xff));
    EXPECT_FALSE(bus.Write(address, data));
  }
  EXPECT_TRUE(device.offsets.empty());
}

TEST(BusTest, OverlapsAndWrapsAreRefusedAndNamed) {
  Bus bus("mmio");
  Recorder a("first"), b("second");
  ASSERT_THAT(bus.Insert(0x1000, 0x1000, &a), IsOk());
  for (uint64_t base : {uint64_t{0x0800}, uint64_t{0x1000}, uint64_t{0x1fff}}) {
    EXPECT_THAT(bus.Insert(base, 0x801, &b),
                StatusIs(absl::StatusCode::kAlreadyExists,
                         AllOf(HasSubstr("first"), HasSubstr("second"))));
  }
  EXPECT_THAT(bus.Insert(~uint64_t{0}, 2, &b), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(bus.Insert(0x3000, 0, &b), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(bus.Insert(0x2000, 0x1000, &b), IsOk());
  bus.Remove(0x1000);
  EXPECT_THAT(bus.Insert(0x0800, 0x1800, &a), IsOk());
}

// A PCI BAR moves from inside a configuration write.
TEST(BusTest, AHandlerMayMoveMappingsFromInsideAnAccess) {
  Bus bus("mmio");
  Recorder moved("moved");
  struct Mover : IoHandler {
    Mover(Bus* bus, IoHandler* other) : bus(bus), other(other) {}
    std::string_view Name() const override { return "mover"; }
    void Read(uint64_t, absl::Span<uint8_t>) override {}
    void Write(uint64_t, absl::Span<const uint8_t>) override {
      bus->Remove(0x5000);
      EXPECT_THAT(bus->Insert(0x6000, 0x1000, other), IsOk());
    }
    Bus* bus;
    IoHandler* other;
  } mover(&bus, &moved);
  ASSERT_THAT(bus.Insert(0x1000, 4, &mover), IsOk());
  ASSERT_THAT(bus.Insert(0x5000, 0x1000, &moved), IsOk());
  const uint8_t byte = 0;
  EXPECT_TRUE(bus.Write(0x1000, absl::MakeConstSpan(&byte, 1)));
  EXPECT_FALSE(bus.Write(0x5000, absl::MakeConstSpan(&byte, 1)));
  EXPECT_TRUE(bus.Write(0x6000, absl::MakeConstSpan(&byte, 1)));
}

}  // namespace
}  // namespace watchsnap
