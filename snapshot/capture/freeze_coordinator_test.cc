// The coordinator without a guest: plain threads take the place of vCPUs and "hit" when told.
#include "snapshot/capture/freeze_coordinator.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "debug/debug_target_fake.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/evidence/captured_memory.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr uint64_t kAddress = 0xffff'ffff'8300'7a00;

class FakeVcpu : public PauseParticipant {
 public:
  void Kick() override { kicked.store(true); }
  void SaveState() override {}
  std::atomic<bool> kicked{false};
};

class FreezeCoordinatorTest : public ::testing::Test {
 protected:
  // Starts `vcpus` threads; each runs `script(vcpu)` once, "outside the guest", and then only runs and parks.
  void Run(int vcpus, int buffers, FreezeCoordinator::Options options,
           const std::function<void(int)>& script) {
    target_ = std::make_unique<DebugTargetFake>(vcpus);
    std::unique_ptr<EvidenceRing> ring;
    if (ring_bytes_ > 0) {
      absl::StatusOr<std::unique_ptr<EvidenceRing>> made = EvidenceRing::Create(ring_bytes_);
      ASSERT_THAT(made.status(), IsOk());
      ring = *std::move(made);
    }
    pool_ = std::make_unique<EvidencePool>(buffers, vcpus, std::move(ring));
    std::vector<PauseParticipant*> participants;
    for (int i = 0; i < vcpus; ++i) {
      vcpus_.push_back(std::make_unique<FakeVcpu>());
      participants.push_back(vcpus_.back().get());
    }
    barrier_ = std::make_unique<PauseBarrier>(participants);
    coordinator_ =
        std::make_unique<FreezeCoordinator>(barrier_.get(), target_.get(), pool_.get(), options);
    if (prepare_) prepare_();
    for (int i = 0; i < vcpus; ++i) {
      threads_.emplace_back([this, i, script] {
        barrier_->Park(i);  // until the initial thaw
        script(i);
        while (!stop_) {
          if (!barrier_->EnterGuest(i)) {
            barrier_->Park(i);
            continue;
          }
          while (!vcpus_[i]->kicked.load() && !stop_) std::this_thread::yield();
          barrier_->LeaveGuest(i);
          vcpus_[i]->kicked = false;
        }
        barrier_->Retire(i);
      });
    }
    ASSERT_THAT(barrier_->InitialFreeze(absl::Seconds(10)).status(), IsOk());
  }
  void TearDown() override {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
  }
  int AddWatch(WatchOptions options = WatchOptions::Unlimited()) {
    absl::StatusOr<int> index =
        coordinator_->Add({.symbol = "counter", .address = kAddress, .watched_bytes = 8}, options);
    EXPECT_THAT(index.status(), IsOk());
    return index.value_or(-1);
  }
  static WatchHits Hit(int vcpu, uint64_t value, uint64_t address = kAddress) {
    WatchHits hits;
    hits.count = 1;
    hits.hits[0] = {.watch = 1,
                    .slot = 1,
                    .vcpu = vcpu,
                    .address = address,
                    .length = 8,
                    .values_known = true,
                    .old_value = value - 1,
                    .new_value = value};
    return hits;
  }

  size_t ring_bytes_ = 0;
  std::function<void()> prepare_;
  std::vector<std::unique_ptr<FakeVcpu>> vcpus_;
  std::unique_ptr<DebugTargetFake> target_;
  std::unique_ptr<EvidencePool> pool_;
  std::unique_ptr<PauseBarrier> barrier_;
  std::unique_ptr<FreezeCoordinator> coordinator_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> let_go_{false};  // a member: a thread may look at it after the test's body
};

TEST_F(FreezeCoordinatorTest, AHitBecomesEvidenceWithItsTimesInOrder) {
  std::atomic<bool> done{false};
  prepare_ = [this] { AddWatch(); };
  Run(2, 4, {}, [&](int vcpu) {
    if (vcpu != 1) return;
    coordinator_->OnHits(1, Hit(1, 7));
    done = true;
  });
  CaptureEvidence* evidence = pool_->Take();
  ASSERT_NE(evidence, nullptr);
  EXPECT_EQ(evidence->leader, 1);
  ASSERT_EQ(evidence->hit_count, 1);
  EXPECT_EQ(evidence->hits[0].watch, 0);
  EXPECT_EQ(evidence->hits[0].hit.new_value, 7u);
  EXPECT_LE(evidence->start_ns, evidence->frozen_ns);
  EXPECT_LE(evidence->frozen_ns, evidence->evidence_ns);
  EXPECT_LE(evidence->evidence_ns, evidence->thawed_ns);
  pool_->Rendered(evidence);
  while (!done) std::this_thread::yield();
  EXPECT_EQ(coordinator_->counters(0).hits, 1u);
}

TEST_F(FreezeCoordinatorTest, VcpusThatHitAtOnceAllGetTheirHitsReported) {
  constexpr int kVcpus = 4;
  constexpr int kRounds = 200;
  prepare_ = [this] { AddWatch(); };
  std::atomic<int> arrived{0};
  Run(kVcpus, 1000, {}, [&](int vcpu) {
    for (int round = 1; round <= kRounds; ++round) {
      // All set out for their hits together; who waits for the others parks when asked to.
      ++arrived;
      while (arrived < round * kVcpus) {
        barrier_->Park(vcpu);
        std::this_thread::yield();
      }
      coordinator_->OnHits(vcpu, Hit(vcpu, static_cast<uint64_t>(vcpu) * 1000 + round));
      barrier_->Park(vcpu);
    }
  });
  std::vector<int> seen(kVcpus, 0);
  int shared = 0;
  for (int total = 0; total < kVcpus * kRounds;) {
    CaptureEvidence* evidence = pool_->Take();
    ASSERT_NE(evidence, nullptr);
    ASSERT_GT(evidence->hit_count, 0);
    ASSERT_LE(evidence->hit_count, kVcpus);
    // The leader's own hit comes first.
    EXPECT_EQ(evidence->hits[0].hit.vcpu, evidence->leader);
    shared += evidence->hit_count > 1;
    for (int i = 0; i < evidence->hit_count; ++i) {
      const WatchHit& hit = evidence->hits[i].hit;
      // Each vCPU's hits arrive once each, in order.
      ++seen[hit.vcpu];
      ASSERT_EQ(hit.new_value, static_cast<uint64_t>(hit.vcpu) * 1000 + seen[hit.vcpu]);
      ++total;
    }
    pool_->Rendered(evidence);
  }
  EXPECT_EQ(coordinator_->counters(0).hits, static_cast<uint64_t>(kVcpus * kRounds));
  EXPECT_GT(shared, 0) << "no two of them ever hit at once: the test shows nothing";
}

TEST_F(FreezeCoordinatorTest, TheBudgetsSurplusIsSuppressedAndTheSumHolds) {
  std::atomic<bool> done{false};
  prepare_ = [this] { AddWatch({.max_captures = 3, .max_frozen_permille = 1000}); };
  Run(1, 8, {}, [&](int vcpu) {
    for (int i = 1; i <= 10; ++i) coordinator_->OnHits(vcpu, Hit(vcpu, i));
    done = true;
  });
  while (!done) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) {
    CaptureEvidence* evidence = pool_->Take();
    coordinator_->CountCaptured(evidence->hits[0].watch);
    pool_->Rendered(evidence);
  }
  const WatchCounters counters = coordinator_->counters(0);
  EXPECT_EQ(counters.hits, 10u);
  EXPECT_EQ(counters.captured, 3u);
  EXPECT_EQ(counters.suppressed, 7u);
  EXPECT_THAT(CheckConsistent(counters), IsOk());
}

TEST_F(FreezeCoordinatorTest, TheVcpuThatHitDecidesByConditionNthAndInterval) {
  std::atomic<bool> done{false};
  prepare_ = [this] {
    AddWatch({.max_captures = ~0ull,
              .max_frozen_permille = 1000,
              .when = WatchCondition::Masked(1, 0),
              .every_nth = 3});
  };
  Run(2, 64, {}, [&](int vcpu) {
    if (vcpu != 1) return;
    for (uint64_t value = 1; value <= 20; ++value) coordinator_->OnHits(1, Hit(1, value));
    done = true;
  });
  while (!done) std::this_thread::yield();
  // Of 2, 4, … 20 the first and every third after it.
  for (const uint64_t value : {2, 8, 14, 20}) {
    CaptureEvidence* evidence = pool_->Take();
    EXPECT_EQ(evidence->hits[0].hit.new_value, value);
    coordinator_->CountCaptured(0);
    pool_->Rendered(evidence);
  }
  const WatchCounters counters = coordinator_->counters(0);
  EXPECT_EQ(counters.hits, 20u);
  EXPECT_EQ(counters.captured, 4u);
  EXPECT_EQ(counters.suppressed_by.condition, 10u);
  EXPECT_EQ(counters.suppressed_by.every_nth, 6u);
  EXPECT_THAT(CheckConsistent(counters), IsOk());
  EXPECT_EQ(barrier_->freezes(), 5u) << "the first was the initial one";
}

TEST_F(FreezeCoordinatorTest, ACaptureTooSoonAfterTheOneBeforeIsNone) {
  std::atomic<bool> done{false};
  prepare_ = [this] {
    AddWatch({.max_frozen_permille = 1000, .min_interval_us = 3'600'000'000});
  };
  Run(1, 8, {}, [&](int vcpu) {
    for (int i = 1; i <= 5; ++i) coordinator_->OnHits(vcpu, Hit(vcpu, i));
    done = true;
  });
  while (!done) std::this_thread::yield();
  coordinator_->CountCaptured(0);
  EXPECT_EQ(coordinator_->counters(0).suppressed_by.interval, 4u);
  EXPECT_THAT(CheckConsistent(coordinator_->counters(0)), IsOk());
}

TEST_F(FreezeCoordinatorTest, AWatchThatAskedForItIsHandedOverToBeDisarmedOnce) {
  std::atomic<bool> done{false};
  std::atomic<int> spent{0};
  prepare_ = [&] {
    coordinator_->SetOnSpent([&](int watch) {
      EXPECT_EQ(watch, 0);
      ++spent;
    });
    AddWatch({.max_captures = 2, .max_frozen_permille = 1000, .on_budget = OnBudget::kDisarm});
  };
  Run(1, 8, {}, [&](int vcpu) {
    for (int i = 1; i <= 2; ++i) coordinator_->OnHits(vcpu, Hit(vcpu, i));
    EXPECT_EQ(spent, 0);
    for (int i = 3; i <= 5; ++i) coordinator_->OnHits(vcpu, Hit(vcpu, i));
    done = true;
  });
  while (!done) std::this_thread::yield();
  EXPECT_EQ(spent, 1);
  coordinator_->CountDisarmed(0);
  EXPECT_EQ(coordinator_->counters(0).disarmed, 1u);
  EXPECT_EQ(coordinator_->counters(0).suppressed_by.captures, 3u);
}

TEST_F(FreezeCoordinatorTest, WhoDoesNotWaitForTheQueueFreezesNobodyWhereItIsFull) {
  std::atomic<bool> done{false};
  prepare_ = [this] {
    AddWatch({.max_frozen_permille = 1000, .queue_full = QueueFull::kCount});
  };
  Run(2, 1, {.buffer_wait = absl::Hours(1)}, [&](int vcpu) {
    if (vcpu != 1) return;
    for (int i = 1; i <= 3; ++i) coordinator_->OnHits(1, Hit(1, i));
    done = true;
  });
  while (!done) std::this_thread::yield();
  EXPECT_EQ(coordinator_->counters(0).suppressed_by.queue, 2u);
  EXPECT_EQ(barrier_->freezes(), 2u) << "the first was the initial one";
}

TEST_F(FreezeCoordinatorTest, AHitWaitsForTheRendererWithAllStopped) {
  std::atomic<bool> done{false};
  prepare_ = [this] { AddWatch(); };
  Run(1, 1, {.buffer_wait = absl::Hours(1)}, [&](int vcpu) {
    for (int i = 1; i <= 100; ++i) coordinator_->OnHits(vcpu, Hit(vcpu, i));
    done = true;
  });
  for (int i = 1; i <= 100; ++i) {
    CaptureEvidence* evidence = pool_->Take();
    EXPECT_EQ(evidence->hits[0].hit.new_value, static_cast<uint64_t>(i));
    coordinator_->CountCaptured(0);
    pool_->Rendered(evidence);
  }
  while (!done) std::this_thread::yield();
  EXPECT_EQ(coordinator_->counters(0).captured, 100u);
  EXPECT_THAT(CheckConsistent(coordinator_->counters(0)), IsOk());
}

TEST_F(FreezeCoordinatorTest, AHitToBeCountedOnlyFreezesNobody) {
  std::atomic<bool> done{false};
  prepare_ = [this] { AddWatch(); };
  Run(2, 4, {}, [&](int vcpu) {
    if (vcpu != 1) return;
    for (uint64_t value = 1; value <= 5; ++value) {
      WatchHits hits = Hit(1, value);
      hits.hits[0].count_only = true;
      coordinator_->OnHits(1, hits);
    }
    EXPECT_FALSE(vcpus_[0]->kicked);
    coordinator_->OnHits(1, Hit(1, 6));  // an ordinary one beside them is captured
    done = true;
  });
  CaptureEvidence* evidence = pool_->Take();
  ASSERT_NE(evidence, nullptr);
  EXPECT_EQ(evidence->hits[0].hit.new_value, 6u);
  coordinator_->CountCaptured(0);
  pool_->Rendered(evidence);
  while (!done) std::this_thread::yield();
  const WatchCounters counters = coordinator_->counters(0);
  EXPECT_EQ(counters.hits, 6u);
  EXPECT_EQ(counters.suppressed, 5u);
  EXPECT_THAT(CheckConsistent(counters), IsOk());
}

TEST_F(FreezeCoordinatorTest, WithoutAFreeBufferAHitIsSuppressedAfterTheWait) {
  std::atomic<bool> done{false};
  prepare_ = [this] { AddWatch(); };
  Run(1, 1, {.buffer_wait = absl::Milliseconds(5)}, [&](int vcpu) {
    coordinator_->OnHits(vcpu, Hit(vcpu, 1));
    coordinator_->OnHits(vcpu, Hit(vcpu, 2));  // the renderer still has the only buffer
    done = true;
  });
  while (!done) std::this_thread::yield();
  EXPECT_EQ(coordinator_->counters(0).hits, 2u);
  EXPECT_EQ(coordinator_->counters(0).suppressed, 1u);
}

TEST_F(FreezeCoordinatorTest, AFreezeThatFailsCountsItsHitsAsLost) {
  std::atomic<bool> stuck{false};
  std::atomic<bool> done{false};
  prepare_ = [this] { AddWatch(); };
  Run(2, 4, {.freeze_deadline = absl::Milliseconds(20)}, [&](int vcpu) {
    if (vcpu == 1) {  // stuck outside the guest: does not park
      stuck = true;
      while (!let_go_) std::this_thread::yield();
      return;
    }
    while (!stuck) std::this_thread::yield();
    coordinator_->OnHits(vcpu, Hit(vcpu, 1));
    done = true;
  });
  while (!done) std::this_thread::yield();
  let_go_ = true;
  EXPECT_EQ(coordinator_->counters(0).hits, 1u);
  EXPECT_EQ(coordinator_->counters(0).lost, 1u);
  EXPECT_THAT(CheckConsistent(coordinator_->counters(0)), IsOk());
}

// Ignores 0, freezes for 1, captures the rest.
class RuleOfThumb : public HitRule {
 public:
  Action Judge(const WatchHit& hit) override {
    if (hit.new_value == 0) return Action::kIgnore;
    return hit.new_value == 1 ? Action::kFreeze : Action::kCapture;
  }
  void WhileFrozen(const WatchHit& hit) override { frozen.push_back(hit.new_value); }
  std::vector<uint64_t> frozen;
};

TEST_F(FreezeCoordinatorTest, ARuleDecidesWhatItsHitsAreAndActsWhileAllStand) {
  std::atomic<bool> done{false};
  RuleOfThumb rule;
  prepare_ = [&] {
    AddWatch();  // a user's watch of the same address is another one
    ASSERT_THAT(coordinator_
                    ->Add({.symbol = "exit_kind",
                           .address = kAddress,
                           .reserved_slot = true,
                           .rule = &rule},
                          WatchOptions::Unlimited())
                    .status(),
                IsOk());
  };
  Run(2, 8, {}, [&](int vcpu) {
    if (vcpu != 0) return;
    for (uint64_t value : {0, 1, 1024}) {
      WatchHits hits = Hit(0, value, kAddress + 64);  // it has moved meanwhile
      hits.hits[0].reserved_slot = true;
      coordinator_->OnHits(0, hits);
    }
    done = true;
  });
  while (!done) std::this_thread::yield();
  EXPECT_THAT(rule.frozen, ::testing::ElementsAre(1, 1024));
  EXPECT_EQ(coordinator_->counters(0).hits, 0u);
  EXPECT_EQ(coordinator_->counters(1).hits, 1u);
  for (const bool capture : {false, true}) {
    CaptureEvidence* evidence = pool_->Take();
    ASSERT_EQ(evidence->hit_count, 1);
    EXPECT_EQ(evidence->hits[0].watch, 1);
    EXPECT_EQ(evidence->hits[0].capture, capture);
    pool_->Rendered(evidence);
  }
}

class CountedMemory : public FrozenMemory {
 public:
  size_t CopyPrefix(uint64_t kva, absl::Span<uint8_t> out) const override {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(kva + i);
    return out.size();
  }
};

class WordPart : public EvidencePart {
 public:
  std::string_view Name() const override { return "word"; }
  void Copy(const CaptureContext& context, MemoryReader& recorder) override {
    uint64_t word = 0;
    if (!context.watches.empty()) recorder.Load(0x1000 + 16 * context.watches[0], word);
  }
  void Render(const CaptureContext&, MemoryReader&, Report&) override {}
};

TEST_F(FreezeCoordinatorTest, PartsCopyIntoTheRingAndOnlyOnce) {
  std::atomic<bool> done{false};
  CountedMemory memory;
  EvidenceParts parts;
  parts.memory = &memory;
  parts.parts.push_back(std::make_unique<WordPart>());
  ring_bytes_ = 4096;
  prepare_ = [&] {
    AddWatch();
    coordinator_->SetParts(&parts);
  };
  Run(2, 8, {}, [&](int vcpu) {
    if (vcpu != 1) return;
    coordinator_->OnHits(1, Hit(1, 7));
    done = true;
  });
  while (!done) std::this_thread::yield();
  CaptureEvidence* evidence = pool_->Take();
  ASSERT_EQ(evidence->parts, &parts);
  EXPECT_EQ(evidence->block.size, 24u);  // address, length, eight bytes
  CapturedMemory captured(pool_->ring()->Bytes(evidence->block));
  uint64_t word = 0;
  ASSERT_TRUE(captured.Load(0x1000, word));
  EXPECT_EQ(word, 0x0706050403020100u);
  EXPECT_LT(pool_->ring()->Room(), 4096u - 16);
  pool_->Rendered(evidence);
  EXPECT_EQ(pool_->ring()->Room(), 4096u - 16);
}

TEST_F(FreezeCoordinatorTest, HitsOfAWatchThatIsNoLongerThereAreDropped) {
  std::atomic<bool> done{false};
  prepare_ = [this] { coordinator_->Remove(AddWatch()); };
  Run(1, 4, {}, [&](int vcpu) {
    coordinator_->OnHits(vcpu, Hit(vcpu, 1));
    done = true;
  });
  while (!done) std::this_thread::yield();
  EXPECT_EQ(coordinator_->counters(0).hits, 0u);
}

TEST_F(FreezeCoordinatorTest, ATimeDrivenCaptureFreezesFromOutside) {
  Run(3, 4, {}, [](int) {});
  ASSERT_THAT(coordinator_->Capture(TriggerKind::kSnapshot, "now"), IsOk());
  CaptureEvidence* evidence = pool_->Take();
  ASSERT_NE(evidence, nullptr);
  EXPECT_EQ(evidence->kind, TriggerKind::kSnapshot);
  EXPECT_EQ(evidence->tag, "now");
  EXPECT_EQ(evidence->leader, -1);
  EXPECT_EQ(evidence->registers.size(), 3u);
  pool_->Rendered(evidence);
}

TEST_F(FreezeCoordinatorTest, TheWatchTableHasAnEnd) {
  Run(1, 1, {}, [](int) {});
  for (int i = 0; i < 64; ++i) {
    ASSERT_THAT(coordinator_->Add({.symbol = "s", .address = kAddress + 8 * i}, {}).status(), IsOk());
  }
  EXPECT_THAT(coordinator_->Add({.symbol = "s", .address = 8}, {}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("64")));
  coordinator_->Remove(17);
  absl::StatusOr<int> reused = coordinator_->Add({.symbol = "s", .address = 8}, {});
  ASSERT_THAT(reused.status(), IsOk());
  EXPECT_EQ(*reused, 17);
}

}  // namespace
}  // namespace watchsnap
