// Two machines of //vmm in one process: each has its own memory, vCPU and device, and both run at once.
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "counting_machine.h"
#include "gtest/gtest.h"

namespace embedder {
namespace {

TEST(TwoMachinesTest, CountAtTheSameTimeEachForItself) {
  absl::StatusOr<CountingMachine> first = CountingMachine::Create(1000);
  ASSERT_TRUE(first.ok()) << first.status();
  absl::StatusOr<CountingMachine> second = CountingMachine::Create(2000);
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_TRUE(first->Start().ok());
  ASSERT_TRUE(second->Start().ok());
  for (CountingMachine* machine : {&*second, &*first}) {
    const watchsnap::RunEnd end = machine->Wait(absl::Minutes(1));
    EXPECT_EQ(end.kind, watchsnap::RunEndKind::kPowerOff) << end.detail;
    EXPECT_EQ(end.detail, "counted");
  }
  EXPECT_EQ(first->Counter().value_or(0), 1000u);
  EXPECT_EQ(second->Counter().value_or(0), 2000u);
}

TEST(TwoMachinesTest, TheEndOfOneLeavesTheOtherRunning) {
  absl::StatusOr<CountingMachine> endless = CountingMachine::Create(4000000000u);
  ASSERT_TRUE(endless.ok()) << endless.status();
  ASSERT_TRUE(endless->Start().ok());
  {
    absl::StatusOr<CountingMachine> brief = CountingMachine::Create(10);
    ASSERT_TRUE(brief.ok()) << brief.status();
    ASSERT_TRUE(brief->Start().ok());
    EXPECT_EQ(brief->Wait(absl::Minutes(1)).kind, watchsnap::RunEndKind::kPowerOff);
  }
  const uint64_t then = endless->Counter().value_or(0);
  EXPECT_EQ(endless->Wait(absl::Milliseconds(200)).kind, watchsnap::RunEndKind::kDeadline);
  EXPECT_GT(endless->Counter().value_or(0), then);
}

}  // namespace
}  // namespace embedder
