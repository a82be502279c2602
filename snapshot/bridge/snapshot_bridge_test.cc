#include "snapshot/bridge/snapshot_bridge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

absl::StatusOr<Report> EmptyCapture(std::string_view) { return Report{}; }

SnapshotBridge Accepting() {
  return SnapshotBridge(EmptyCapture).WithWatchRegister([](std::string_view) {
    return absl::OkStatus();
  });
}

std::string Words(const absl::Status& status) { return std::string(status.message()); }

TEST(SnapshotBridgeTest, TheFourthWatchExceedsTheCap) {
  const SnapshotBridge bridge = Accepting();
  EXPECT_TRUE(bridge.RegisterWatch("kernel.a").ok());
  EXPECT_TRUE(bridge.RegisterWatch("kernel.b").ok());
  EXPECT_TRUE(bridge.RegisterWatch("kernel.c").ok());
  const absl::Status fourth = bridge.RegisterWatch("kernel.d");
  EXPECT_EQ(fourth.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(
      Words(fourth),
      StartsWith("Op::WatchSnapshot cap exceeded: scenario already registered 3 watchpoints "
                 "(3 user watchpoint slots occupied; slot 0 reserved for the error-class "
                 "exit_kind trigger)"));
  EXPECT_THAT(Words(fourth), HasSubstr("'kernel.d'"));
  EXPECT_THAT(Words(fourth), HasSubstr("Op::Snapshot"));  // what to do instead
  EXPECT_THAT(bridge.RegisteredWatches(), ElementsAre("kernel.a", "kernel.b", "kernel.c"));
}

TEST(SnapshotBridgeTest, TheCallbackIsNotAskedBeyondTheCap) {
  int calls = 0;
  const auto bridge = SnapshotBridge(EmptyCapture).WithWatchRegister([&](std::string_view) {
    ++calls;
    return absl::OkStatus();
  });
  for (const char* symbol : {"a", "b", "c", "d", "a"}) (void)bridge.RegisterWatch(symbol);
  EXPECT_EQ(calls, 3);
}

TEST(SnapshotBridgeTest, AFailedRegistrationConsumesNothing) {
  const auto bridge = SnapshotBridge(EmptyCapture).WithWatchRegister([](std::string_view symbol) {
    if (symbol.starts_with("typo")) {
      return absl::NotFoundError(absl::StrCat("symbol '", symbol, "' not found in vmlinux symtab"));
    }
    return absl::OkStatus();
  });
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(bridge.RegisterWatch("typo").ok());
  EXPECT_TRUE(bridge.RegisterWatch("kernel.a").ok());
  EXPECT_FALSE(bridge.RegisterWatch("typo2").ok());
  EXPECT_TRUE(bridge.RegisterWatch("kernel.b").ok());
  EXPECT_FALSE(bridge.RegisterWatch("kernel.b").ok());  // the duplicate, too
  EXPECT_TRUE(bridge.RegisterWatch("kernel.c").ok());
  EXPECT_FALSE(bridge.RegisterWatch("kernel.d").ok());
  EXPECT_EQ(bridge.Counters().size(), 3u);
}

TEST(SnapshotBridgeTest, ACallbacksErrorComesThroughWithSymbolReasonCodeAndPayload) {
  const auto bridge = SnapshotBridge(EmptyCapture).WithWatchRegister([](std::string_view) {
    absl::Status status = absl::UnavailableError("KVM_SET_GUEST_DEBUG failed: EINVAL");
    status.SetPayload("watchsnap/slot", absl::Cord("2"));
    return status;
  });
  const absl::Status status = bridge.RegisterWatch("jiffies_64");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Words(status), HasSubstr("'jiffies_64'"));
  EXPECT_THAT(Words(status), HasSubstr("KVM_SET_GUEST_DEBUG failed: EINVAL"));
  EXPECT_EQ(status.GetPayload("watchsnap/slot"), absl::Cord("2"));
}

TEST(SnapshotBridgeTest, AllSlotsTakenOnTheHostIsARefusalLikeOthers) {
  int free_slots = 1;
  const auto bridge = SnapshotBridge(EmptyCapture).WithWatchRegister([&](std::string_view) {
    if (free_slots == 0) {
      return absl::ResourceExhaustedError("all three user watchpoint slots are allocated");
    }
    --free_slots;
    return absl::OkStatus();
  });
  EXPECT_TRUE(bridge.RegisterWatch("kernel.a").ok());
  EXPECT_THAT(Words(bridge.RegisterWatch("kernel.b")), HasSubstr("slots are allocated"));
  free_slots = 2;
  EXPECT_TRUE(bridge.RegisterWatch("kernel.b").ok());
  EXPECT_TRUE(bridge.RegisterWatch("kernel.c").ok());
}

TEST(SnapshotBridgeTest, TheSameSymbolTwiceSaysSo) {
  const SnapshotBridge bridge = Accepting();
  EXPECT_TRUE(bridge.RegisterWatch("jiffies_64").ok());
  const absl::Status again = bridge.RegisterWatch("jiffies_64");
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Words(again), HasSubstr("'jiffies_64' is already watched"));
}

TEST(SnapshotBridgeTest, MissingWiringIsNamed) {
  const SnapshotBridge bridge(EmptyCapture);
  const absl::Status status = bridge.RegisterWatch("jiffies_64");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Words(status), HasSubstr("register_watch"));
  EXPECT_THAT(Words(status), HasSubstr("WithWatchRegister"));
  EXPECT_THAT(Words(SnapshotBridge().Capture("mid")), HasSubstr("no capture callback"));
  EXPECT_THAT(bridge.RegisteredWatches(), IsEmpty());
}

TEST(SnapshotBridgeTest, SymbolsOfAnyShapeReachTheCallback) {
  std::vector<std::string> seen;
  const auto bridge = SnapshotBridge(EmptyCapture).WithWatchRegister([&](std::string_view symbol) {
    seen.emplace_back(symbol);
    return absl::OkStatus();
  });
  const std::string binary("a\0b\xff", 4);
  const std::string huge(100'000, 'x');
  EXPECT_TRUE(bridge.RegisterWatch(binary).ok());
  EXPECT_TRUE(bridge.RegisterWatch(huge).ok());
  EXPECT_THAT(seen, ElementsAre(binary, huge));
  EXPECT_THAT(Words(bridge.RegisterWatch("")), HasSubstr("the symbol is empty"));
}

TEST(SnapshotBridgeTest, APluginsOwnCapacity) {
  SnapshotBridge bridge = Accepting().WithMaxWatches(5);
  for (const char* symbol : {"a", "b", "c", "d", "e"})
    EXPECT_TRUE(bridge.RegisterWatch(symbol).ok());
  EXPECT_THAT(Words(bridge.RegisterWatch("f")), HasSubstr("already registered 5 watchpoints"));
}

TEST(SnapshotBridgeTest, CapturesComeInOrderAndSeveralUnderATag) {
  const SnapshotBridge bridge([](std::string_view tag) -> absl::StatusOr<Report> {
    if (tag == "bad") return absl::AbortedError("the barrier timed out");
    Report report;
    report.cost.pause_ns = 5;
    return report;
  });
  EXPECT_TRUE(bridge.Capture("before").ok());
  EXPECT_EQ(bridge.Store("jiffies_64", TriggerKind::kWatch, Report{}), 0u);
  EXPECT_EQ(bridge.Store("jiffies_64", TriggerKind::kWatch, Report{}), 1u);
  EXPECT_TRUE(bridge.Capture("before").ok());
  const absl::Status bad = bridge.Capture("bad");
  EXPECT_EQ(bad.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(Words(bad), HasSubstr("'bad' could not be captured: the barrier timed out"));

  ASSERT_EQ(bridge.ByTag("before").size(), 2u);
  EXPECT_EQ(bridge.ByTag("before")[1].seq, 1u);
  EXPECT_EQ(bridge.ByTag("before")[1].report.cost.pause_ns, 5u);
  EXPECT_THAT(bridge.ByTag("none"), IsEmpty());

  const std::vector<CaptureEntry> all = bridge.DrainOrdered();
  std::vector<std::string> order;
  for (const CaptureEntry& entry : all) {
    order.push_back(absl::StrCat(entry.tag, "#", entry.seq, " ", TriggerKindName(entry.kind)));
    EXPECT_EQ(entry.report.tag, entry.tag);
    EXPECT_EQ(entry.report.seq, entry.seq);
    EXPECT_EQ(entry.report.trigger.kind, entry.kind);
  }
  EXPECT_THAT(order, ElementsAre("before#0 snapshot", "jiffies_64#0 watch", "jiffies_64#1 watch",
                                 "before#1 snapshot"));
  EXPECT_THAT(bridge.DrainOrdered(), IsEmpty());
  EXPECT_EQ(bridge.Store("jiffies_64", TriggerKind::kWatch, Report{}), 2u);
}

TEST(SnapshotBridgeTest, AWatchThatNeverFiredHasItsCounters) {
  const SnapshotBridge bridge = Accepting();
  ASSERT_TRUE(bridge.RegisterWatch("quiet").ok());
  EXPECT_EQ(bridge.Counters().at("quiet"), (WatchCounters{.armed = 1}));
  const WatchCounters counters{.armed = 1, .hits = 2, .captured = 2};
  bridge.SetCounters("quiet", counters);
  EXPECT_EQ(bridge.Counters().at("quiet"), counters);
}

TEST(SnapshotBridgeTest, CopiesShareOneStore) {
  const SnapshotBridge bridge = Accepting();
  const SnapshotBridge copy = bridge;
  EXPECT_TRUE(copy.RegisterWatch("a").ok());
  EXPECT_TRUE(copy.Capture("t").ok());
  EXPECT_THAT(bridge.RegisteredWatches(), ElementsAre("a"));
  EXPECT_EQ(bridge.size(), 1u);
}

TEST(SnapshotBridgeTest, GuardsNestAndRestore) {
  EXPECT_FALSE(SnapshotBridge::Active().has_value());
  const SnapshotBridge outer = Accepting();
  {
    const auto outer_guard = outer.SetThreadLocal();
    ASSERT_TRUE(SnapshotBridge::Active()->RegisterWatch("outer").ok());
    {
      const SnapshotBridge inner = Accepting();
      auto inner_guard = inner.SetThreadLocal();
      const auto moved = std::move(inner_guard);
      ASSERT_TRUE(SnapshotBridge::Active()->RegisterWatch("inner").ok());
      EXPECT_THAT(inner.RegisteredWatches(), ElementsAre("inner"));
    }
    ASSERT_TRUE(SnapshotBridge::Active()->RegisterWatch("outer2").ok());
    std::thread([] { EXPECT_FALSE(SnapshotBridge::Active().has_value()); }).join();
  }
  EXPECT_FALSE(SnapshotBridge::Active().has_value());
  EXPECT_THAT(outer.RegisteredWatches(), ElementsAre("outer", "outer2"));
}

TEST(SnapshotBridgeTest, AnInstalledBridgeOutlivesItsVariable) {
  std::optional<SnapshotBridge> bridge = Accepting();
  const auto guard = bridge->SetThreadLocal();
  bridge.reset();
  EXPECT_TRUE(SnapshotBridge::Active()->Capture("t").ok());
}

// Renderers store while watches are registered and captures are read. Meant for ThreadSanitizer;
// the counts must hold anyway.
TEST(SnapshotBridgeTest, ManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  std::atomic<int> armed = 0;
  const auto bridge = SnapshotBridge(EmptyCapture).WithWatchRegister([&](std::string_view symbol) {
    if (symbol.ends_with("1")) return absl::NotFoundError("odd");
    ++armed;
    return absl::OkStatus();
  });
  std::vector<CaptureEntry> drained;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        bridge.Store(i % 2 == 0 ? "even" : "odd", TriggerKind::kWatch, Report{});
        (void)bridge.RegisterWatch(absl::StrCat("symbol", t, ".", i));
        (void)bridge.Counters();
      }
    });
  }
  while (drained.size() < kThreads * kEach) {
    for (CaptureEntry& entry : bridge.DrainOrdered()) drained.push_back(std::move(entry));
    (void)bridge.ByTag("even");
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(armed, 3);
  EXPECT_EQ(bridge.RegisteredWatches().size(), 3u);
  uint64_t even = 0, odd = 0;
  for (const CaptureEntry& entry : drained)
    EXPECT_EQ(entry.seq, entry.tag == "even" ? even++ : odd++);
  EXPECT_EQ(even + odd, static_cast<uint64_t>(kThreads * kEach));
}

TEST(SnapshotBridgeDeathTest, GuardsOutOfOrderAreACallersError) {
  EXPECT_DEATH(
      {
        auto first =
            std::make_unique<SnapshotBridge::ThreadLocalGuard>(Accepting().SetThreadLocal());
        const auto second = Accepting().SetThreadLocal();
        first.reset();
      },
      "reverse order");
}

}  // namespace
}  // namespace watchsnap
