#include "debug/gdb_server/shared_watches.h"

#include <memory>
#include <vector>

#include "absl/status/status_matchers.h"
#include "debug/debug_target_fake.h"
#include "debug/hw_watch/hw_watch.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::gdb {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kData = 0xffffffff82000000;

class SharedWatchesTest : public ::testing::Test, public SharedWatches::Listener {
 protected:
  SharedWatchesTest() { target_.Map(kData, 4096); }
  void OnDebuggerHit(const WatchHit& hit) override { debugger_hits_.push_back(hit.address); }
  // A store that trips `slot`; returns the addresses of the session's hits.
  std::vector<uint64_t> Hit(int slot) {
    kvm_debug_exit_arch exit = {};
    exit.exception = 1;
    exit.dr6 = 1u << slot;
    WatchHits hits;
    target_.OnVcpuThread(0, [&] { shared_.OnExit(0, exit, hits); });
    std::vector<uint64_t> addresses;
    for (int i = 0; i < hits.count; ++i) addresses.push_back(hits.hits[i].address);
    return addresses;
  }
  absl::StatusOr<WatchId> Arm(uint64_t address, bool reserved = false) {
    return shared_.Arm({.address = address, .length = 8, .tag = "the session's", .reserved_slot = reserved});
  }

  DebugTargetFake target_{1};
  SharedWatches shared_{std::make_unique<HwWatch>(target_, [] { return absl::OkStatus(); }), this};
  std::vector<uint64_t> debugger_hits_;
};

TEST_F(SharedWatchesTest, EachSideGetsTheHitsOfItsOwnWatches) {
  ASSERT_THAT(Arm(kData), IsOk());                            // slot 1
  ASSERT_THAT(shared_.ArmForDebugger(kData + 8, 8), IsOk());  // slot 2
  EXPECT_THAT(Hit(1), ElementsAre(kData));
  EXPECT_THAT(debugger_hits_, IsEmpty());
  EXPECT_THAT(Hit(2), IsEmpty());
  EXPECT_THAT(debugger_hits_, ElementsAre(kData + 8));
}

TEST_F(SharedWatchesTest, TheSamePlaceServesBothWhoeverCameFirst) {
  absl::StatusOr<WatchId> session = Arm(kData);
  ASSERT_THAT(session, IsOk());
  absl::StatusOr<WatchId> debugger = shared_.ArmForDebugger(kData, 8);
  ASSERT_THAT(debugger, IsOk());
  EXPECT_EQ(*session, *debugger) << "one slot";
  EXPECT_THAT(Hit(1), ElementsAre(kData));
  EXPECT_THAT(debugger_hits_, ElementsAre(kData));
  ASSERT_THAT(shared_.DisarmForDebugger(*debugger), IsOk());
  EXPECT_THAT(Hit(1), ElementsAre(kData)) << "the session's stays";
  EXPECT_EQ(debugger_hits_.size(), 1u);
  ASSERT_THAT(shared_.ArmForDebugger(kData, 8), IsOk());
  ASSERT_THAT(shared_.Disarm(*session), IsOk());
  EXPECT_THAT(Hit(1), IsEmpty());
  EXPECT_EQ(debugger_hits_.size(), 2u) << "the debugger's stays";
  ASSERT_THAT(Arm(kData), IsOk());
  EXPECT_THAT(Hit(1), ElementsAre(kData));
}

TEST_F(SharedWatchesTest, ATakenSlotIsAnErrorNotAnOverwrite) {
  for (int i = 0; i < 3; ++i) ASSERT_THAT(Arm(kData + 8ull * i), IsOk());
  EXPECT_THAT(shared_.ArmForDebugger(kData + 64, 8),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("the session's")));
  EXPECT_THAT(shared_.ArmForDebugger(kData, 4), StatusIs(absl::StatusCode::kAlreadyExists))
      << "overlaps, and is not the same";
  EXPECT_THAT(Hit(3), ElementsAre(kData + 16));
  EXPECT_THAT(debugger_hits_, IsEmpty());
}

TEST_F(SharedWatchesTest, NobodyDisarmsTheOthersWatch) {
  absl::StatusOr<WatchId> session = Arm(kData);
  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(shared_.DisarmForDebugger(*session), StatusIs(absl::StatusCode::kNotFound));
  absl::StatusOr<WatchId> debugger = shared_.ArmForDebugger(kData + 8, 8);
  ASSERT_THAT(debugger, IsOk());
  EXPECT_THAT(shared_.Disarm(*debugger), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Hit(1), ElementsAre(kData));
}

TEST_F(SharedWatchesTest, TheReservedSlotIsTheSessionsAloneAndMoves) {
  absl::StatusOr<WatchId> trigger = Arm(kData, /*reserved=*/true);
  ASSERT_THAT(trigger, IsOk());
  absl::StatusOr<WatchId> debugger = shared_.ArmForDebugger(kData, 8);
  ASSERT_THAT(debugger, IsOk());
  EXPECT_NE(*trigger, *debugger);
  ASSERT_THAT(shared_.Retarget(*trigger, kData + 32, 4), IsOk());
  EXPECT_THAT(Hit(0), ElementsAre(kData + 32));
  EXPECT_THAT(debugger_hits_, IsEmpty());
  EXPECT_THAT(Hit(1), IsEmpty());
  EXPECT_THAT(debugger_hits_, ElementsAre(kData));
}

}  // namespace
}  // namespace watchsnap::gdb
