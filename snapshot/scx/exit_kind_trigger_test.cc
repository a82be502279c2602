// The trigger over a machine made of notes: it follows schedulers as they come and go.
#include "snapshot/scx/exit_kind_trigger.h"

#include <cstring>
#include <string>

#include "absl/status/status_matchers.h"
#include "debug/debug_target_fake.h"
#include "debug/hw_watch/hw_watch.h"
#include "debug/types/btf_builder.h"
#include "debug/types/btf_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using Action = HitRule::Action;

constexpr uint64_t kRoot = 0xffff'ffff'8300'1000;
constexpr uint64_t kFirst = 0xffff'8880'0010'0000;
constexpr uint64_t kSecond = 0xffff'8880'0020'0000;
constexpr uint64_t kOffset = 0x40;
constexpr ExitKindLayout kLayout = {
    .root_address = kRoot, .kind_offset = kOffset, .error = 1024, .done = 1};

class ExitKindTriggerTest : public ::testing::Test, public FrozenMemory {
 protected:
  ExitKindTriggerTest() {
    target_.Map(kRoot, 8);
    target_.Map(kFirst, 256);
    target_.Map(kSecond, 256);
  }
  size_t CopyPrefix(uint64_t kva, absl::Span<uint8_t> out) const override {
    const uint8_t* host = target_.HostAddress(0, kva, out.size());
    if (host == nullptr) return 0;
    std::memcpy(out.data(), host, out.size());
    return out.size();
  }
  absl::Status Arm() {
    return trigger_.Arm([](std::function<absl::Status()> task) { return task(); });
  }
  // The guest stores `value` there: what the trigger wants, which then happens.
  template <typename T>
  Action Store(uint64_t address, T value) {
    target_.Store(address, value);
    WatchHits hits;
    kvm_debug_exit_arch exit = {};
    exit.exception = 1;
    exit.dr6 = 1;  // slot 0
    device_.OnExit(0, exit, hits);
    EXPECT_EQ(hits.count, 1);
    EXPECT_EQ(hits.hits[0].address, address) << "the watch stands elsewhere";
    EXPECT_TRUE(hits.hits[0].reserved_slot);
    const Action action = trigger_.Judge(hits.hits[0]);
    if (action != Action::kIgnore) trigger_.WhileFrozen(hits.hits[0]);
    return action;
  }
  uint64_t WatchedByVcpu(int vcpu) { return target_.guest_debug(vcpu).arch.debugreg[0]; }

  mutable DebugTargetFake target_{2};
  HwWatch device_{target_, [] { return absl::OkStatus(); }};
  ExitKindTrigger trigger_{kLayout, &device_, this};
};

TEST_F(ExitKindTriggerTest, FollowsASchedulerFromLoadToErrorToDoneAndBack) {
  ASSERT_THAT(Arm(), IsOk());
  EXPECT_EQ(WatchedByVcpu(1), kRoot);
  EXPECT_EQ(Store(kRoot, kFirst), Action::kFreeze);
  EXPECT_EQ(WatchedByVcpu(0), kFirst + kOffset);
  EXPECT_EQ(WatchedByVcpu(1), kFirst + kOffset);
  EXPECT_EQ(trigger_.schedulers(), 1);

  EXPECT_EQ(Store<uint32_t>(kFirst + kOffset, 1026), Action::kCapture);
  EXPECT_EQ(Store<uint32_t>(kFirst + kOffset, 1026), Action::kIgnore) << "a cmpxchg that failed";
  EXPECT_EQ(Store<uint32_t>(kFirst + kOffset, 1), Action::kCapture);
  EXPECT_EQ(WatchedByVcpu(1), kRoot);
  EXPECT_EQ(Store<uint64_t>(kRoot, 0), Action::kIgnore);

  EXPECT_EQ(Store(kRoot, kSecond), Action::kFreeze);
  EXPECT_EQ(WatchedByVcpu(1), kSecond + kOffset);
}

TEST_F(ExitKindTriggerTest, ASchedulerThatUnloadsIsNoFailure) {
  ASSERT_THAT(Arm(), IsOk());
  Store(kRoot, kFirst);
  EXPECT_EQ(Store<uint32_t>(kFirst + kOffset, 64), Action::kIgnore);
  EXPECT_EQ(Store<uint32_t>(kFirst + kOffset, 1), Action::kFreeze);
  EXPECT_EQ(WatchedByVcpu(0), kRoot);
}

TEST_F(ExitKindTriggerTest, ASchedulerThatWasThereBeforeIsFollowed) {
  target_.Store(kRoot, kFirst);
  ASSERT_THAT(Arm(), IsOk());
  EXPECT_EQ(WatchedByVcpu(1), kFirst + kOffset);
}

TEST_F(ExitKindTriggerTest, ASchedulerThatReplacedTheDoneOneIsFollowedAtOnce) {
  ASSERT_THAT(Arm(), IsOk());
  Store(kRoot, kFirst);
  target_.Store(kRoot, kSecond);  // while the watch stands on the first one's exit_kind
  EXPECT_EQ(Store<uint32_t>(kFirst + kOffset, 1), Action::kFreeze);
  EXPECT_EQ(WatchedByVcpu(0), kSecond + kOffset);
}

TEST(ExitKindLayoutTest, OldKernelsHaveAGlobalAndOthersNothing) {
  BtfBuilder btf;
  const uint32_t kind = btf.Enum("scx_exit_kind", 4, false,
                                 {{"SCX_EXIT_NONE", 0}, {"SCX_EXIT_DONE", 1}, {"SCX_EXIT_ERROR", 1024}});
  btf.Struct("scx_sched", 128, {{"exit_kind", kind, 8 * kOffset}});
  const auto types = ReadBtf(btf.Bytes());
  ASSERT_THAT(types.status(), IsOk());
  const auto only = [](std::string_view there) {
    return [there](std::string_view name) -> absl::StatusOr<uint64_t> {
      if (name == there) return kRoot;
      return absl::NotFoundError("no");
    };
  };
  const auto modern = FindExitKindLayout(**types, only("scx_root"));
  ASSERT_THAT(modern.status(), IsOk());
  EXPECT_EQ(modern->root_address, kRoot);
  EXPECT_EQ(modern->kind_offset, kOffset);
  EXPECT_EQ(modern->error, 1024u);
  EXPECT_EQ(modern->done, 1u);
  const auto old = FindExitKindLayout(**types, only("scx_exit_kind"));
  ASSERT_THAT(old.status(), IsOk());
  EXPECT_EQ(old->root_address, 0u);
  EXPECT_EQ(old->kind_address, kRoot);
  EXPECT_THAT(FindExitKindLayout(**types, only("jiffies")).status(),
              StatusIs(absl::StatusCode::kUnimplemented));
}

}  // namespace
}  // namespace watchsnap
