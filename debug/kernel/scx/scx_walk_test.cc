#include "debug/kernel/scx/scx_walk.h"

#include <random>
#include <string>
#include <vector>

#include "debug/kernel/scx/scx_image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint32_t kErrorBpf = 1025;

// Keeps what it is told.
class Collector : public ScxVisitor {
 public:
  struct Queue {
    ScxQueueKind kind;
    int owner;
    ScxQueueInfo info;
    std::vector<int> pids;
    WalkEnd end = WalkEnd::kWhole;
  };
  void OnState(const ScxStateInfo& info) override { state = info; }
  void OnRoot(const ScxSchedulerInfo& info) override { root = info; }
  void OnExit(const ScxExitInfo& info) override { exit = info; }
  void OnSubScheduler(const ScxSchedulerInfo& info) override { subs.push_back(info); }
  void OnSubSchedulersEnd(WalkEnd end) override { subs_end = end; }
  void OnCpu(const ScxCpuInfo& info) override { cpus.push_back(info); }
  void OnQueue(ScxQueueKind kind, int owner, const ScxQueueInfo& info) override {
    queues.push_back({kind, owner, info, {}});
  }
  void OnQueuedTask(const TaskInfo& task) override {
    queues.back().pids.push_back(task.pid.value_or(-1));
  }
  void OnQueueEnd(WalkEnd end) override { queues.back().end = end; }
  void OnQueuesEnd(ScxQueueKind kind, WalkEnd end) override {
    (kind == ScxQueueKind::kUser ? users_end : globals_end) = end;
  }
  void OnTask(const ScxTaskInfo& task) override { tasks.push_back(task); }
  void OnTasksEnd(WalkEnd end) override { tasks_end = end; }

  std::vector<Queue> Of(ScxQueueKind kind) const {
    std::vector<Queue> of;
    for (const Queue& queue : queues) {
      if (queue.kind == kind) of.push_back(queue);
    }
    return of;
  }

  ScxStateInfo state;
  ScxSchedulerInfo root;
  ScxExitInfo exit;
  std::vector<ScxSchedulerInfo> subs;
  std::vector<ScxCpuInfo> cpus;
  std::vector<Queue> queues;
  std::vector<ScxTaskInfo> tasks;
  WalkEnd subs_end = WalkEnd::kUnreadable, users_end = WalkEnd::kUnreadable;
  WalkEnd globals_end = WalkEnd::kUnreadable, tasks_end = WalkEnd::kUnreadable;
};

Collector Walk(ScxImage& image, const ScxLimits& limits = {}) {
  const ScxKernel scx(image.types(), image.symbols(), image.per_cpu(), limits);
  image.memory.reads = 0;
  Collector collector;
  scx.Walk(image.memory, collector);
  return collector;
}

std::vector<int> Pids(const std::vector<ScxTaskInfo>& tasks) {
  std::vector<int> pids;
  for (const ScxTaskInfo& task : tasks) pids.push_back(task.task.pid.value_or(-1));
  return pids;
}

TEST(ScxWalk, WithoutASchedulerItIsTwoReads) {
  ScxImage image;
  image.AddTask(1, "init");
  const Collector seen = Walk(image);
  EXPECT_EQ(seen.state.state, 3u);
  EXPECT_FALSE(seen.state.loaded);
  EXPECT_EQ(image.memory.reads, 2u);
  EXPECT_THAT(seen.tasks, IsEmpty());
}

TEST(ScxWalk, NothingIsMissingInAWholeKernel) {
  ScxImage image;
  const ScxKernel scx(image.types(), image.symbols(), image.per_cpu());
  EXPECT_THAT(scx.schedulers().missing(), IsEmpty());
  EXPECT_THAT(scx.exits().missing(), IsEmpty());
  EXPECT_THAT(scx.queues().missing(), IsEmpty());
  EXPECT_THAT(scx.runqueues().missing(), IsEmpty());
  EXPECT_THAT(scx.tasks().missing(), IsEmpty());
}

TEST(ScxWalk, TheRootScheduler) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const Collector seen = Walk(image);
  EXPECT_TRUE(seen.state.loaded);
  EXPECT_EQ(seen.state.switched_all, true);
  EXPECT_EQ(seen.root.address, ScxImage::kSched);
  EXPECT_EQ(seen.root.ops_name.view(), "fifo");
  EXPECT_EQ(seen.root.ops_flags, 3u);
  EXPECT_EQ(seen.root.timeout_ms, 2000u);
  EXPECT_EQ(seen.root.dispatch_max_batch, 32u);
  EXPECT_EQ(seen.root.exit_kind, 0u);
  EXPECT_EQ(seen.root.bypass_depth, 0);
  EXPECT_EQ(seen.root.slice_dfl, 20'000'000u);
  EXPECT_EQ(seen.root.id, 5u);
  EXPECT_EQ(seen.root.aborting, false);
  EXPECT_EQ(seen.exit.kind, 0u);
  EXPECT_TRUE(seen.exit.known);
  EXPECT_THAT(seen.subs, IsEmpty());
  EXPECT_EQ(seen.subs_end, WalkEnd::kWhole);
}

TEST(ScxWalk, EachCpuWithItsLocalQueueInOrder) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  const uint64_t b = image.AddTask(11, "b");
  const uint64_t c = image.AddTask(12, "c");
  image.SetCurr(1, a);
  image.Queue(image.LocalDsq(1), {c, b});
  image.memory.Put<uint32_t>(image.Runqueue(1), 3);
  image.memory.Put<uint32_t>(image.LocalDsq(1) + 48, 2);   // scx.nr_running
  image.memory.Put<uint32_t>(image.LocalDsq(1) + 52, 3);   // scx.flags
  image.memory.Put<uint64_t>(image.SchedPerCpu(1), 1);     // bypassing
  const Collector seen = Walk(image);
  ASSERT_EQ(seen.cpus.size(), 2u);
  EXPECT_EQ(seen.cpus[0].curr.address, 0u);
  EXPECT_EQ(seen.cpus[0].bypassing, false);
  const ScxCpuInfo& cpu = seen.cpus[1];
  EXPECT_TRUE(cpu.known);
  EXPECT_EQ(cpu.nr_running, 3u);
  EXPECT_EQ(cpu.scx_nr_running, 2u);
  EXPECT_EQ(cpu.flags, 3u);
  EXPECT_EQ(cpu.cpu_released, false);
  EXPECT_EQ(cpu.bypassing, true);
  EXPECT_EQ(cpu.curr.pid, 10);
  const auto local = seen.Of(ScxQueueKind::kLocal);
  ASSERT_EQ(local.size(), 2u);
  EXPECT_THAT(local[0].pids, IsEmpty());
  EXPECT_THAT(local[1].pids, ElementsAre(12, 11));
  EXPECT_EQ(local[1].info.nr, 2u);
  EXPECT_EQ(local[1].info.id, (uint64_t{1} << 63) + 2);
  EXPECT_EQ(local[1].end, WalkEnd::kWhole);
}

TEST(ScxWalk, QueuesOfTheSchedulerAndTheGlobalOne) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  const uint64_t b = image.AddTask(11, "b");
  image.Queue(image.AddUserDsq(7, 2), {a});
  image.AddUserDsq(8, 2);  // in the same bucket
  image.Queue(ScxImage::kGlobalDsq, {b});
  // A bucket that is locked, and empty.
  image.memory.Put<uint64_t>(ScxImage::kTable + ScxImage::kBucketArray, 1);
  const Collector seen = Walk(image);
  const auto user = seen.Of(ScxQueueKind::kUser);
  ASSERT_EQ(user.size(), 2u);
  EXPECT_EQ(user[0].info.id, 8u);
  EXPECT_EQ(user[1].info.id, 7u);
  EXPECT_THAT(user[1].pids, ElementsAre(10));
  const auto global = seen.Of(ScxQueueKind::kGlobal);
  ASSERT_EQ(global.size(), 1u);
  EXPECT_EQ(global[0].owner, 0);
  EXPECT_THAT(global[0].pids, ElementsAre(11));
  EXPECT_EQ(seen.users_end, WalkEnd::kWhole);
  EXPECT_EQ(seen.globals_end, WalkEnd::kWhole);
}

TEST(ScxWalk, CursorsOfTheKernelAreNoTasks) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  const uint64_t cursor = image.AddTask(666, "cursor", 0x8000'0000);
  const uint64_t b = image.AddTask(11, "b");
  image.Queue(image.LocalDsq(0), {a, cursor, b});
  image.memory.Put<uint32_t>(cursor + ScxImage::kTaskScx + ScxImage::kEntityNodeFlags, 1);
  const Collector seen = Walk(image);
  EXPECT_THAT(seen.Of(ScxQueueKind::kLocal)[0].pids, ElementsAre(10, 11));
  EXPECT_THAT(Pids(seen.tasks), ElementsAre(10, 11));
}

TEST(ScxWalk, TasksWithWhatSchedExtSaysOfThem) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  image.Queue(image.AddUserDsq(7, 1), {a});
  const Collector seen = Walk(image);
  ASSERT_EQ(seen.tasks.size(), 1u);
  const ScxTaskInfo& task = seen.tasks[0];
  EXPECT_EQ(task.task.comm(), "a");
  EXPECT_EQ(task.task.state, 'R');
  EXPECT_EQ(task.task.cpu, 1u);
  EXPECT_EQ(task.weight, 100u);
  EXPECT_EQ(task.task.pid, 10);
  EXPECT_EQ(task.task.policy, 7u);
  EXPECT_EQ(task.slice, 20'000'000u);
  EXPECT_EQ(task.dsq_vtime, 7000u);
  EXPECT_EQ(task.sticky_cpu, -1);
  EXPECT_EQ(task.dsq_id, 7u);
  EXPECT_EQ(task.scheduler, ScxImage::kSched);
  const ScxKernel scx(image.types(), image.symbols(), image.per_cpu());
  EXPECT_EQ(scx.tasks().StateName(*task.flags), "SCX_TASK_ENABLED");
  EXPECT_EQ(scx.tasks().FlagNames(*task.flags), "SCX_TASK_QUEUED");
  EXPECT_EQ(scx.tasks().FlagNames(0x409), "SCX_TASK_QUEUED|SCX_TASK_DEQD_FOR_SLEEP");
  EXPECT_EQ(scx.tasks().StateName(1), "SCX_TASK_NONE");
}

TEST(ScxWalk, AnExitAsItIsClaimedAndAsItIsFilledIn) {
  ScxImage image;
  image.LoadScheduler("error");
  image.ClaimExit(kErrorBpf);
  EXPECT_EQ(Walk(image).exit.kind, kErrorBpf);
  EXPECT_EQ(Walk(image).exit.msg.view(), "");
  image.FillExit(kErrorBpf, "scx_bpf_error", "deliberate (42)", {0xffff'ffff'8110'0010, 0x20});
  image.ClaimExit(1);  // SCX_EXIT_DONE
  const Collector seen = Walk(image);
  EXPECT_EQ(seen.exit.claimed, 1u);
  EXPECT_EQ(seen.exit.kind, kErrorBpf);
  EXPECT_EQ(seen.exit.exit_code, -22);
  EXPECT_EQ(seen.exit.exit_cpu, -1);
  EXPECT_EQ(seen.exit.reason.view(), "scx_bpf_error");
  EXPECT_EQ(seen.exit.msg.view(), "deliberate (42)");
  EXPECT_THAT(seen.exit.backtrace(), ElementsAre(0xffff'ffff'8110'0010, 0x20));
  EXPECT_FALSE(seen.exit.backtrace_cut);
  const ScxExitReader reader(image.types(), image.symbols());
  EXPECT_EQ(reader.ReadExitInfo(image.memory, ScxImage::kSched).msg.view(), "deliberate (42)");
  EXPECT_FALSE(reader.ReadExitInfo(image.memory, 0).known);
  EXPECT_EQ(reader.kinds().NameOf(kErrorBpf), "SCX_EXIT_ERROR_BPF");
}

TEST(ScxWalk, LongTextsAndBacktracesAreCut) {
  ScxImage image;
  image.LoadScheduler("error");
  image.FillExit(kErrorBpf, std::string(200, 'r'), std::string(1500, 'm'),
                 std::vector<uint64_t>(65, 1));
  const ScxExitInfo exit = Walk(image).exit;
  EXPECT_EQ(exit.reason.view(), std::string(128, 'r'));
  EXPECT_TRUE(exit.reason.cut);
  EXPECT_EQ(exit.msg.view(), std::string(1024, 'm'));
  EXPECT_TRUE(exit.msg.cut);
  EXPECT_EQ(exit.backtrace_size, 64u);
  EXPECT_TRUE(exit.backtrace_cut);
}

TEST(ScxWalk, ATextThatEndsWithItsMemoryIsReadAsFarAsItGoes) {
  ScxImage image;
  image.LoadScheduler("error");
  image.FillExit(kErrorBpf, "reason", "", {});
  image.memory.PutString(ScxImage::kMsg + 0x1000 - 100, std::string(100, 'x'));
  image.memory.Put(ScxImage::kExitInfo + 48, ScxImage::kMsg + 0x1000 - 100);
  const ScxExitInfo exit = Walk(image).exit;
  EXPECT_EQ(exit.msg.view(), std::string(100, 'x'));
  EXPECT_TRUE(exit.msg.cut);
  EXPECT_EQ(exit.reason.view(), "reason");
}

TEST(ScxWalk, SubSchedulersAreNamed) {
  ScxImage image;
  image.LoadScheduler("parent");
  image.memory.Map(ScxImage::kSubSched, 256);
  image.memory.PutString(ScxImage::kSubSched + 24, "child");
  image.memory.Put<int32_t>(ScxImage::kSubSched + ScxImage::kSchedLevel, 1);
  image.memory.Put(ScxImage::kSubSched + 232, ScxImage::kReason);
  image.memory.PutString(ScxImage::kReason, "/sub");
  image.Link(ScxImage::kAllHead, {ScxImage::kSched + ScxImage::kSchedAll,
                                  ScxImage::kSubSched + ScxImage::kSchedAll});
  const Collector seen = Walk(image);
  ASSERT_EQ(seen.subs.size(), 1u);
  EXPECT_EQ(seen.subs[0].ops_name.view(), "child");
  EXPECT_EQ(seen.subs[0].level, 1);
  EXPECT_EQ(seen.subs[0].cgroup_path.view(), "/sub");
}

TEST(ScxWalk, AKernelBeforeRootSchedulers) {
  ScxImage image({.with_root = false});
  image.AddTask(10, "a");
  EXPECT_FALSE(Walk(image).state.loaded);
  image.LoadScheduler("old");
  image.AddUserDsq(9, 0);
  image.memory.Put<uint32_t>(image.LocalDsq(1) + 52, 17);  // online, bypassing
  image.memory.Put<int32_t>(ScxImage::kOldBypass, 1);
  image.ClaimExit(kErrorBpf);
  image.FillExit(kErrorBpf, "why", "what", {});
  const Collector seen = Walk(image);
  EXPECT_TRUE(seen.state.loaded);
  EXPECT_EQ(seen.root.address, 0u);
  EXPECT_EQ(seen.root.ops_name.view(), "old");
  EXPECT_EQ(seen.root.exit_kind, kErrorBpf);
  EXPECT_EQ(seen.root.bypass_depth, 1);
  EXPECT_EQ(seen.exit.msg.view(), "what");
  EXPECT_EQ(seen.cpus[0].bypassing, false);
  EXPECT_EQ(seen.cpus[1].bypassing, true);
  ASSERT_EQ(seen.Of(ScxQueueKind::kUser).size(), 1u);
  EXPECT_EQ(seen.Of(ScxQueueKind::kUser)[0].info.id, 9u);
  EXPECT_EQ(seen.Of(ScxQueueKind::kGlobal).size(), 1u);
  EXPECT_THAT(Pids(seen.tasks), ElementsAre(10));
  const ScxKernel scx(image.types(), image.symbols(), image.per_cpu());
  EXPECT_EQ(scx.schedulers().names().enable_states.NameOf(1), "SCX_OPS_ENABLED");
  EXPECT_THAT(scx.schedulers().missing(), IsEmpty());
}

TEST(ScxWalk, AMemberThatTheKernelLacksIsMissingAlone) {
  ScxImage image({.with_rq_flags = false, .with_subs = false});
  image.LoadScheduler("fifo");
  const ScxKernel scx(image.types(), image.symbols(), image.per_cpu());
  EXPECT_THAT(scx.runqueues().missing(), ElementsAre(HasSubstr("struct scx_rq has no flags")));
  const Collector seen = Walk(image);
  EXPECT_EQ(seen.cpus[0].flags, std::nullopt);
  EXPECT_EQ(seen.cpus[0].scx_nr_running, 0u);
  EXPECT_EQ(seen.subs_end, WalkEnd::kWhole);
}

// Guest memory that makes no sense.

TEST(ScxWalk, AListThatBitesItsTailEnds) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  const uint64_t b = image.AddTask(11, "b");
  const uint64_t c = image.AddTask(12, "c");
  image.Queue(image.LocalDsq(0), {a, b, c});
  const auto node = [](uint64_t task) { return task + ScxImage::kTaskScx + ScxImage::kEntityNode; };
  image.memory.Put<uint64_t>(node(c), node(b));
  const Collector seen = Walk(image);
  EXPECT_EQ(seen.Of(ScxQueueKind::kLocal)[0].end, WalkEnd::kCycle);
  EXPECT_LE(seen.Of(ScxQueueKind::kLocal)[0].pids.size(), 8u);
  EXPECT_EQ(seen.Of(ScxQueueKind::kLocal)[1].end, WalkEnd::kWhole);
  EXPECT_EQ(seen.tasks_end, WalkEnd::kWhole);

  const auto tasks_node = [](uint64_t task) {
    return task + ScxImage::kTaskScx + ScxImage::kEntityTasksNode;
  };
  image.memory.Put<uint64_t>(tasks_node(b), tasks_node(b));
  EXPECT_EQ(Walk(image).tasks_end, WalkEnd::kCycle);
}

TEST(ScxWalk, ATornListIsReadAsFarAsItGoes) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  const uint64_t b = image.AddTask(11, "b");
  image.Queue(image.LocalDsq(0), {a, b});
  // As list_del leaves it: LIST_POISON1; and a pointer to where nothing is.
  for (const uint64_t next : std::vector<uint64_t>{0xdead'0000'0000'0100, 0xffff'8880'7777'0000,
                                                    0x1000, 0}) {
    image.memory.Put<uint64_t>(b + ScxImage::kTaskScx + ScxImage::kEntityNode, next);
    const Collector seen = Walk(image);
    EXPECT_THAT(seen.Of(ScxQueueKind::kLocal)[0].pids, ElementsAre(10, 11));
    EXPECT_EQ(seen.Of(ScxQueueKind::kLocal)[0].end, WalkEnd::kUnreadable);
  }
}

TEST(ScxWalk, LongListsAreCutAtTheirLimits) {
  ScxImage image;
  image.LoadScheduler("fifo");
  std::vector<uint64_t> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back(image.AddTask(100 + i, "t"));
  image.Queue(image.LocalDsq(0), tasks);
  for (uint32_t i = 0; i < 6; ++i) image.AddUserDsq(i, i % ScxImage::kBuckets);
  const ScxLimits limits = {.tasks = 20, .queues = 6, .tasks_of_a_queue = 19};
  const Collector all = Walk(image, limits);
  EXPECT_EQ(all.tasks.size(), 20u);
  EXPECT_EQ(all.tasks_end, WalkEnd::kWhole);
  EXPECT_EQ(all.users_end, WalkEnd::kWhole);
  EXPECT_EQ(all.Of(ScxQueueKind::kLocal)[0].end, WalkEnd::kCut);
  EXPECT_EQ(all.Of(ScxQueueKind::kLocal)[0].pids.size(), 19u);
  const Collector cut = Walk(image, {.tasks = 19, .queues = 5});
  EXPECT_EQ(cut.tasks.size(), 19u);
  EXPECT_EQ(cut.tasks_end, WalkEnd::kCut);
  EXPECT_EQ(cut.Of(ScxQueueKind::kUser).size(), 5u);
  EXPECT_EQ(cut.users_end, WalkEnd::kCut);
}

TEST(ScxWalk, TablesThatMakeNoSenseEnd) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t dsq = image.AddUserDsq(1, 3);
  // A chain in a circle.
  image.memory.Put<uint64_t>(dsq + ScxImage::kDsqHashNode, dsq + ScxImage::kDsqHashNode);
  EXPECT_EQ(Walk(image).users_end, WalkEnd::kCycle);
  // The future table is the table itself: told twice, not for ever.
  image.memory.Put<uint64_t>(dsq + ScxImage::kDsqHashNode, 1);
  image.memory.Put<uint64_t>(ScxImage::kTable + 8, ScxImage::kTable);
  EXPECT_EQ(Walk(image).Of(ScxQueueKind::kUser).size(), 2u);
  image.memory.Put<uint64_t>(ScxImage::kTable + 8, 0);
  // More buckets than there is memory.
  image.memory.Put<uint32_t>(ScxImage::kTable, ~0u);
  EXPECT_EQ(Walk(image).users_end, WalkEnd::kUnreadable);
  EXPECT_LT(image.memory.reads, 200u);
  // Nested.
  image.memory.Put<uint32_t>(ScxImage::kTable, 8);
  image.memory.Put<uint32_t>(ScxImage::kTable + 4, 2);
  EXPECT_EQ(Walk(image).users_end, WalkEnd::kUnreadable);
  EXPECT_EQ(Walk(image).tasks_end, WalkEnd::kWhole);
}

TEST(ScxWalk, ARootThatIsNoAddressIsNotFollowed) {
  ScxImage image;
  image.LoadScheduler("fifo");
  image.memory.Put<uint64_t>(ScxImage::kRootPointer, 0x1234);
  const Collector seen = Walk(image);
  EXPECT_FALSE(seen.state.loaded);
  EXPECT_TRUE(seen.state.root_unreadable);
  EXPECT_EQ(image.memory.reads, 2u);
}

// Whatever stands in memory, a walk ends, and soon.
TEST(ScxWalk, RandomPointersEverywhere) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 300; ++round) {
    ScxImage image;
    image.LoadScheduler("fifo");
    std::vector<uint64_t> tasks;
    for (int i = 0; i < 6; ++i) tasks.push_back(image.AddTask(100 + i, "t"));
    std::vector<uint64_t> queues = {image.LocalDsq(0), image.LocalDsq(1), ScxImage::kGlobalDsq};
    for (uint32_t i = 0; i < 4; ++i) queues.push_back(image.AddUserDsq(i, i));
    std::vector<uint64_t> places = {ScxImage::kSched, ScxImage::kExitInfo, ScxImage::kTable,
                                    ScxImage::kNodes, ScxImage::kTasksHead, ScxImage::kAllHead};
    places.insert(places.end(), tasks.begin(), tasks.end());
    places.insert(places.end(), queues.begin(), queues.end());
    for (int change = 0; change < 12; ++change) {
      const uint64_t to = places[random() % places.size()] + 8 * (random() % 18);
      const uint64_t value = places[random() % places.size()] + 8 * (random() % 18);
      uint64_t unused = 0;
      if (image.memory.Load(to, unused)) image.memory.Put<uint64_t>(to, value);
    }
    const Collector seen = Walk(image);
    EXPECT_LT(image.memory.reads, 100'000u);
    EXPECT_LE(seen.tasks.size(), 256u);
  }
}

}  // namespace
}  // namespace watchsnap
