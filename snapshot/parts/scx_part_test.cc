#include "snapshot/parts/scx_part.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "debug/kernel/scx/scx_image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/evidence/captured_memory.h"
#include "snapshot/evidence/evidence_recorder.h"
#include "snapshot/evidence/evidence_ring.h"
#include "snapshot/evidence/frozen_memory.h"

namespace watchsnap {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uint32_t kErrorBpf = 1025;

class FrozenImage : public FrozenMemory {
 public:
  explicit FrozenImage(MemoryFake* memory) : memory_(memory) {}
  size_t CopyPrefix(uint64_t kva, absl::Span<uint8_t> out) const override {
    const size_t there = memory_->Take(kva, out.size());
    return memory_->Read(kva, out.first(there)) ? there : 0;
  }

 private:
  MemoryFake* const memory_;
};

std::string NameOf(uint64_t address) {
  return address >= 0xffff'ffff'8110'0000 ? absl::StrCat("scx_function+", address & 0xff) : "";
}

struct Rendered {
  std::string json;
  std::vector<Degraded> degraded;
};

// Copied into a ring, and rendered from there: what the report gets.
Rendered Capture(ScxImage& image, const ScxLimits& limits = {}, size_t ring_bytes = 1 << 20) {
  ScxPart part(ScxKernel(image.types(), image.symbols(), image.per_cpu(), limits), NameOf);
  auto ring = EvidenceRing::Create(ring_bytes);
  EXPECT_TRUE(ring.ok());
  EvidenceRecorder recorder(ring->get());
  const FrozenImage frozen(&image.memory);
  recorder.Begin(frozen);
  part.Copy({}, recorder);
  CapturedMemory captured((*ring)->Bytes(recorder.Commit()));
  Report report;
  part.Render({}, captured, report);
  const std::string* json = FindMember(report.more, "scx");
  EXPECT_NE(json, nullptr);
  return {json == nullptr ? "" : *json, std::move(report.degraded)};
}

TEST(ScxPart, WithoutAScheduler) {
  ScxImage image;
  image.AddTask(1, "init");
  const Rendered scx = Capture(image);
  EXPECT_EQ(scx.json, R"({"state":"disabled"})");
  EXPECT_THAT(scx.degraded, IsEmpty());
}

TEST(ScxPart, ASchedulerWithTasks) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  const uint64_t b = image.AddTask(11, "b");
  image.SetCurr(0, b);
  image.Queue(image.LocalDsq(1), {b});
  image.AddUserDsq(9, 2);
  image.Queue(image.AddUserDsq(7, 1), {a});
  const Rendered scx = Capture(image);
  EXPECT_EQ(
      scx.json,
      R"({"state":"enabled",)"
      R"("root":{"address":"0xffff888001000000","ops_name":"fifo",)"
      R"("ops_flags":"SCX_OPS_KEEP_BUILTIN_IDLE|SCX_OPS_ENQ_LAST","timeout_ms":2000,)"
      R"("dispatch_max_batch":32,"exit_kind":"SCX_EXIT_NONE","slice_dfl":20000000,)"
      R"("aborting":false,"switched_all":true,"id":5},)"
      R"("exit":{"kind":"SCX_EXIT_NONE"},)"
      R"("bypass":{"depth":0,"cpus":[]},)"
      R"("cpus":[{"cpu":0,"nr_running":0,"scx_nr_running":0,"flags":"SCX_RQ_ONLINE",)"
      R"("cpu_released":false,"bypassing":false,)"
      R"("curr":{"address":"0xffff888003001000","pid":11,"comm":"b"},)"
      R"("local_dsq":{"id":"SCX_DSQ_LOCAL","address":"0xffff888100000010","nr":0,"tasks":[]}},)"
      R"({"cpu":1,"nr_running":0,"scx_nr_running":0,"flags":"SCX_RQ_ONLINE",)"
      R"("cpu_released":false,"bypassing":false,)"
      R"("local_dsq":{"id":"SCX_DSQ_LOCAL","address":"0xffff888110000010","nr":1,)"
      R"("tasks":[{"address":"0xffff888003001000","pid":11,"comm":"b"}]}}],)"
      R"("dsqs":[{"id":"SCX_DSQ_GLOBAL","node":0,"address":"0xffff888001410000","nr":0,)"
      R"("tasks":[]},)"
      R"({"id":7,"address":"0xffff888002001000","nr":1,)"
      R"("tasks":[{"address":"0xffff888003000000","pid":10,"comm":"a"}]},)"
      R"({"id":9,"address":"0xffff888002000000","nr":0,"tasks":[]}],)"
      R"("tasks":[{"address":"0xffff888003000000","pid":10,"comm":"a","state":"R",)"
      R"("policy":"SCHED_EXT","cpu":1,"scx_state":"SCX_TASK_ENABLED","flags":"SCX_TASK_QUEUED",)"
      R"("weight":100,"slice":20000000,"dsq_vtime":7000,"runnable_at":4294900000,"dsq":7},)"
      R"({"address":"0xffff888003001000","pid":11,"comm":"b","state":"R",)"
      R"("policy":"SCHED_EXT","cpu":1,"scx_state":"SCX_TASK_ENABLED","flags":"SCX_TASK_QUEUED",)"
      R"("weight":100,"slice":20000000,"dsq_vtime":7000,"runnable_at":4294900000,)"
      R"("dsq":"SCX_DSQ_LOCAL"}]})");
  // CPU 0 runs a task, CPU 1 has no current one in this image.
  EXPECT_THAT(scx.degraded, ElementsAre(Field(&Degraded::what, "scx.cpus[1].curr")));
}

TEST(ScxPart, AnExitWithItsBacktraceByName) {
  ScxImage image;
  image.LoadScheduler("error");
  image.FillExit(kErrorBpf, "scx_bpf_error", "de\"liberate\n", {0xffff'ffff'8110'0010, 0x20});
  image.ClaimExit(1);
  image.memory.PutString(ScxImage::kDump, "DUMP");
  EXPECT_THAT(Capture(image).json,
              AllOf(HasSubstr(R"("exit_kind":"SCX_EXIT_DONE")"),
                    HasSubstr(R"("exit":{"kind":"SCX_EXIT_ERROR_BPF","exit_code":-22,)"
                              R"("flags":"SCX_EFLAG_INITIALIZED","reason":"scx_bpf_error",)"
                              R"("msg":"de\"liberate\n",)"
                              R"("backtrace":["scx_function+16","0x20"],"dump":"DUMP"})")));
}

TEST(ScxPart, WhatIsBypassed) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  image.memory.Put<int32_t>(ScxImage::kSched + ScxImage::kSchedBypass, 2);
  image.memory.Put<uint64_t>(image.SchedPerCpu(1), 1);
  image.Queue(image.SchedPerCpu(1) + 8, {a});
  EXPECT_THAT(Capture(image).json,
              AllOf(HasSubstr(R"("bypass":{"depth":2,"cpus":[1]})"),
                    HasSubstr(R"("bypass_dsq":{"id":"SCX_DSQ_BYPASS","address":)"
                              R"("0xffff888011500008","nr":1,"tasks":[{"address":)"
                              R"("0xffff888003000000","pid":10,"comm":"a"}]})")));
}

TEST(ScxPart, AMemberThatTheKernelLacksDegradesItAlone) {
  ScxImage image({.with_rq_flags = false});
  image.LoadScheduler("fifo");
  const Rendered scx = Capture(image);
  EXPECT_THAT(scx.json, HasSubstr(R"({"cpu":0,"nr_running":0,"scx_nr_running":0,"cpu_released":)"));
  EXPECT_THAT(scx.degraded,
              Contains(AllOf(Field(&Degraded::what, "scx.cpus[].flags"),
                             Field(&Degraded::why, HasSubstr("struct scx_rq has no flags")))));
}

TEST(ScxPart, CutsAndCirclesAreSaid) {
  ScxImage image;
  image.LoadScheduler("fifo");
  const uint64_t a = image.AddTask(10, "a");
  image.AddTask(11, "b");
  image.Queue(image.LocalDsq(0), {a});
  const uint64_t node = a + ScxImage::kTaskScx + ScxImage::kEntityNode;
  image.memory.Put<uint64_t>(node, node);
  // The first of the scheduler's own, behind the global one, wherever in the table.
  image.AddUserDsq(9, 1);
  image.AddUserDsq(8, 2);
  const uint64_t torn = image.AddUserDsq(7, 3);
  image.memory.Put<uint64_t>(torn + ScxImage::kDsqList, 0);
  EXPECT_THAT(Capture(image, {.tasks = 1}).degraded,
              AllOf(Contains(AllOf(Field(&Degraded::what, "scx.dsqs[1].tasks"),
                                   Field(&Degraded::why, HasSubstr("not in the evidence")))),
                    Contains(AllOf(Field(&Degraded::what, "scx.cpus[0].local_dsq.tasks"),
                                   Field(&Degraded::why, HasSubstr("circle")))),
                    Contains(AllOf(Field(&Degraded::what, "scx.tasks"),
                                   Field(&Degraded::why, HasSubstr("more than 1;"))))));
}

TEST(ScxPart, WhatFoundNoRoomInTheEvidenceIsLackingAndSaid) {
  ScxImage image;
  image.LoadScheduler("fifo");
  for (int i = 0; i < 100; ++i) image.AddTask(100 + i, "t");
  const Rendered scx = Capture(image, {}, 8192);
  EXPECT_THAT(scx.json, HasSubstr(R"("pid":100,)"));
  EXPECT_THAT(scx.json, Not(HasSubstr(R"("pid":199,)")));
  EXPECT_THAT(scx.degraded, Contains(AllOf(Field(&Degraded::what, "scx.tasks"),
                                           Field(&Degraded::why, HasSubstr("left out")))));
}

TEST(ScxPart, AKernelBeforeRootSchedulers) {
  ScxImage image({.with_root = false});
  EXPECT_EQ(Capture(image).json, R"({"state":"disabled"})");
  image.LoadScheduler("old");
  image.memory.Put<uint32_t>(image.LocalDsq(1) + 52, 17);
  image.memory.Put<int32_t>(ScxImage::kOldBypass, 1);
  EXPECT_THAT(Capture(image).json,
              AllOf(HasSubstr(R"({"state":"enabled","root":{"ops_name":"old",)"),
                    HasSubstr(R"("bypass":{"depth":1,"cpus":[1]})"),
                    HasSubstr(R"("flags":"SCX_RQ_ONLINE|SCX_RQ_BYPASSING")")));
}

}  // namespace
}  // namespace watchsnap
