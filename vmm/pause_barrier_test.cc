// The barrier with plain threads in the place of vCPUs: they "run the guest" by incrementing a counter
// until kicked. Runs under ThreadSanitizer (bazel test --config=tsan).
#include "vmm/pause_barrier.h"

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

class FakeVcpu : public PauseParticipant {
 public:
  void Kick() override { kicked_.store(true); }
  void SaveState() override { ++saves; saved_progress = progress.load(); }

  void Loop(PauseBarrier* barrier, int index) {
    while (!stop) {
      if (!barrier->EnterGuest(index)) {
        barrier->AwaitTurn(index);
        continue;
      }
      while (deaf.load() || !kicked_.load()) {
        progress.fetch_add(1);
        std::this_thread::yield();  // a vCPU would be interrupted by its kick; a spinning thread is not
        if (hit_every != 0 && progress.load() % hit_every == 0) break;
      }
      barrier->LeaveGuest(index);
      kicked_.store(false);
      if (hit_every != 0) OnHit(barrier, index);
    }
    barrier->Retire(index);
  }

  // A hit: lead a freeze, or park for another's and try again.
  void OnHit(PauseBarrier* barrier, int index) {
    absl::StatusOr<FrozenVcpus> frozen = barrier->TryLead(index, absl::Seconds(10));
    if (!frozen.ok()) {
      barrier->Park(index);
      return;
    }
    ++led;
    while_leading();
  }

  std::atomic<uint64_t> progress{0};
  std::atomic<bool> deaf{false};  // does not look at kicks: cannot park
  bool stop = false;
  int saves = 0;
  int led = 0;
  uint64_t hit_every = 0;
  uint64_t saved_progress = 0;
  std::function<void()> while_leading = [] {};

 private:
  std::atomic<bool> kicked_{false};
};

class PauseBarrierTest : public ::testing::Test {
 protected:
  void Start(int count, uint64_t hit_every = 0) {
    std::vector<PauseParticipant*> participants;
    for (int i = 0; i < count; ++i) {
      vcpus_.push_back(std::make_unique<FakeVcpu>());
      vcpus_.back()->hit_every = hit_every;
      participants.push_back(vcpus_.back().get());
    }
    barrier_ = std::make_unique<PauseBarrier>(participants);
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, i] { vcpus_[i]->Loop(barrier_.get(), i); });
    }
    initial_ = std::make_unique<absl::StatusOr<FrozenVcpus>>(
        barrier_->InitialFreeze(absl::Seconds(10)));
    ASSERT_THAT(initial_->status(), IsOk());
  }
  void Go() { initial_.reset(); }
  void TearDown() override {
    initial_.reset();
    for (auto& vcpu : vcpus_) vcpu->deaf = false;
    for (size_t i = 0; i < vcpus_.size(); ++i) {
      (void)barrier_->RunOn(static_cast<int>(i), [this, i] {
        vcpus_[i]->stop = true;
        return absl::OkStatus();
      });
    }
    for (auto& thread : threads_) thread.join();
  }
  void WaitForProgress(int index) {
    const uint64_t before = vcpus_[index]->progress;
    while (vcpus_[index]->progress == before) std::this_thread::yield();
  }

  std::vector<std::unique_ptr<FakeVcpu>> vcpus_;
  std::unique_ptr<PauseBarrier> barrier_;
  std::vector<std::thread> threads_;
  std::unique_ptr<absl::StatusOr<FrozenVcpus>> initial_;
  // How many lead at once, and how often. Members: the threads outlive a test's body.
  std::atomic<int> inside_{0};
  std::atomic<int> most_{0};
  std::atomic<int> total_{0};
};

TEST_F(PauseBarrierTest, NothingRunsBeforeTheInitialThaw) {
  Start(3);
  for (auto& vcpu : vcpus_) EXPECT_EQ(vcpu->progress, 0u);
  Go();
  for (int i = 0; i < 3; ++i) WaitForProgress(i);
}

TEST_F(PauseBarrierTest, FrozenParticipantsDoNotMoveAndHaveSavedTheirState) {
  Start(3);
  Go();
  for (int i = 0; i < 3; ++i) WaitForProgress(i);
  for (int round = 0; round < 200; ++round) {
    absl::StatusOr<FrozenVcpus> frozen = barrier_->Freeze(absl::Seconds(10));
    ASSERT_THAT(frozen.status(), IsOk());
    for (auto& vcpu : vcpus_) EXPECT_EQ(vcpu->saved_progress, vcpu->progress);
  }
  for (int i = 0; i < 3; ++i) WaitForProgress(i);
}

TEST_F(PauseBarrierTest, TenThousandFreezesLoseNobody) {
  Start(4);
  Go();
  for (int round = 0; round < 10'000; ++round) {
    ASSERT_THAT(barrier_->Freeze(absl::Seconds(30)).status(), IsOk()) << "round " << round;
  }
  for (int i = 0; i < 4; ++i) WaitForProgress(i);
}

TEST_F(PauseBarrierTest, ParticipantsThatHitAtTheSameMomentLeadOneAfterAnother) {
  Start(4, /*hit_every=*/50);
  for (auto& vcpu : vcpus_) {
    vcpu->while_leading = [this] {
      const int now = inside_.fetch_add(1) + 1;
      if (now > most_) most_ = now;
      ++total_;
      inside_.fetch_sub(1);
    };
  }
  Go();
  while (total_ < 2000) std::this_thread::yield();
  for (int i = 0; i < 50; ++i) {
    absl::StatusOr<FrozenVcpus> frozen = barrier_->Freeze(absl::Seconds(30));
    ASSERT_THAT(frozen.status(), IsOk());
    EXPECT_EQ(inside_, 0);
  }
  EXPECT_EQ(most_, 1);
}

// A single participant that leads never counts anybody as parked; the epoch wraps in its half of the word.
TEST_F(PauseBarrierTest, AFreezeFromOutsideAfterManyThatNobodyHadToParkFor) {
  Start(1, /*hit_every=*/1);
  vcpus_[0]->while_leading = [this] { ++total_; };
  Go();
  for (int freezes : {17'000, 40'000}) {
    while (total_ < freezes) std::this_thread::yield();
    EXPECT_THAT(barrier_->Freeze(absl::Seconds(10)).status(), IsOk());
  }
}

TEST_F(PauseBarrierTest, AParticipantThatCannotParkIsNamedAndTheOthersGoOn) {
  Start(3);
  Go();
  for (int i = 0; i < 3; ++i) WaitForProgress(i);
  vcpus_[1]->deaf = true;
  const absl::Status status = barrier_->Freeze(absl::Milliseconds(50)).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("vCPU 1 ")));
  WaitForProgress(0);
  WaitForProgress(2);
  vcpus_[1]->deaf = false;
  EXPECT_THAT(barrier_->Freeze(absl::Seconds(30)).status(), IsOk());
}

TEST_F(PauseBarrierTest, TasksRunOnTheParticipantsThreadFrozenOrNot) {
  Start(2);
  Go();
  const auto owner = [this](int index) {
    std::thread::id id;
    EXPECT_THAT(barrier_->RunOn(index,
                                [&] {
                                  id = std::this_thread::get_id();
                                  return absl::OkStatus();
                                }),
                IsOk());
    return id;
  };
  for (int i = 0; i < 2; ++i) EXPECT_EQ(owner(i), threads_[i].get_id());
  absl::StatusOr<FrozenVcpus> frozen = barrier_->Freeze(absl::Seconds(10));
  ASSERT_THAT(frozen.status(), IsOk());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(owner(i), threads_[i].get_id());
  EXPECT_THAT(barrier_->RunOn(0, [] { return absl::InternalError("no"); }),
              StatusIs(absl::StatusCode::kInternal));
}

TEST_F(PauseBarrierTest, AHeldParticipantStaysOutParksAndRunsTasksWhileTheOthersGoOn) {
  Start(3);
  Go();
  for (int i = 0; i < 3; ++i) WaitForProgress(i);
  barrier_->Hold(1);
  barrier_->Hold(1);  // once is enough
  ASSERT_THAT(barrier_->Freeze(absl::Seconds(30)).status(), IsOk());
  const uint64_t then = vcpus_[1]->progress;
  EXPECT_EQ(vcpus_[1]->saved_progress, then);
  for (int round = 0; round < 500; ++round) {
    ASSERT_THAT(barrier_->Freeze(absl::Seconds(30)).status(), IsOk()) << "round " << round;
    ASSERT_THAT(barrier_->RunOn(1, [] { return absl::OkStatus(); }), IsOk());
  }
  WaitForProgress(0);
  WaitForProgress(2);
  EXPECT_EQ(vcpus_[1]->progress, then);
  barrier_->Release(1);
  barrier_->Release(1);
  WaitForProgress(1);
}

TEST_F(PauseBarrierTest, HoldsComeAndGoAmidFreezesOfParticipantsAndOthers) {
  Start(3, /*hit_every=*/50);
  for (auto& vcpu : vcpus_) vcpu->while_leading = [this] { ++total_; };
  Go();
  for (int round = 0; round < 300; ++round) {
    for (int i = 0; i < 3; ++i) barrier_->Hold(i);
    ASSERT_THAT(barrier_->Freeze(absl::Seconds(30)).status(), IsOk()) << "round " << round;
    const uint64_t sum = vcpus_[0]->progress + vcpus_[1]->progress + vcpus_[2]->progress;
    ASSERT_THAT(barrier_->Freeze(absl::Seconds(30)).status(), IsOk());
    EXPECT_EQ(vcpus_[0]->progress + vcpus_[1]->progress + vcpus_[2]->progress, sum);
    barrier_->Release(round % 3);  // one alone goes on
    WaitForProgress(round % 3);
    for (int i = 0; i < 3; ++i) barrier_->Release(i);
  }
  for (int i = 0; i < 3; ++i) WaitForProgress(i);
  EXPECT_GT(total_, 0);
}

TEST_F(PauseBarrierTest, AHeldParticipantCanBeStopped) {
  Start(2);
  Go();
  barrier_->Hold(1);  // the last: nobody else's stop wakes it
  ASSERT_THAT(barrier_->Freeze(absl::Seconds(30)).status(), IsOk());
  // TearDown stops and joins it without a Release.
}

TEST_F(PauseBarrierTest, ARetiredParticipantCountsAsParkedAndTakesNoTasks) {
  Start(2);
  Go();
  ASSERT_THAT(barrier_->RunOn(1,
                              [this] {
                                vcpus_[1]->stop = true;
                                return absl::OkStatus();
                              }),
              IsOk());
  while (barrier_->RunOn(1, [] { return absl::OkStatus(); }).ok()) std::this_thread::yield();
  EXPECT_THAT(barrier_->Freeze(absl::Seconds(10)).status(), IsOk());
}

}  // namespace
}  // namespace watchsnap
