#include "snapshot/parts/current_task_part.h"

#include "debug/kernel/memory_fake.h"
#include "debug/types/btf_builder.h"
#include "debug/types/btf_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kVariable = 0xffff'ffff'8300'1018;
constexpr uint64_t kOffset = 0x0000'1000'0000'0000;
constexpr uint64_t kTask = 0xffff'8880'0123'4000;

std::shared_ptr<const TypeGraph> Types(bool with_policy = true) {
  BtfBuilder btf;
  const uint32_t u32 = btf.Int("unsigned int", 4);
  const uint32_t s32 = btf.Int("int", 4, BTF_INT_SIGNED);
  const uint32_t comm = btf.Array(btf.Int("char", 1, BTF_INT_CHAR), 16);
  std::vector<BtfBuilder::MemberSpec> members = {
      {"cpu", u32, 0},          {"__state", u32, 4 * 8}, {"exit_state", s32, 8 * 8},
      {"pid", s32, 12 * 8},     {"tgid", s32, 16 * 8},   {"prio", s32, 20 * 8},
      {"comm", comm, 32 * 8}};
  if (with_policy) members.push_back({"policy", u32, 24 * 8});
  btf.Struct("task_struct", 48, members);
  return *ReadBtf(btf.Bytes());
}

MemoryFake GuestMemory() {
  MemoryFake memory;
  memory.Put<uint64_t>(kVariable + kOffset, kTask);
  memory.Map(kTask, 48);
  memory.Put<uint32_t>(kTask, 1);
  memory.Put<int32_t>(kTask + 12, 42);
  memory.Put<int32_t>(kTask + 16, 40);
  memory.Put<int32_t>(kTask + 20, 120);
  memory.Put<uint32_t>(kTask + 24, 3);
  memory.PutString(kTask + 32, "caf\xe9\"1");
  return memory;
}

Report ReportOf(int vcpus) {
  Report report;
  report.vcpus.resize(static_cast<size_t>(vcpus));
  return report;
}

TEST(CurrentTaskPart, TheTaskOfEachVcpu) {
  CurrentTaskPart part(*Types(), PerCpu({kOffset}), kVariable);
  MemoryFake memory = GuestMemory();
  part.Copy({}, memory);
  Report report = ReportOf(1);
  part.Render({}, memory, report);
  const std::string* task = FindMember(report.vcpus[0].more, "task");
  ASSERT_NE(task, nullptr);
  EXPECT_EQ(*task,
            R"({"address":"0xffff888001234000","pid":42,"tgid":40,"comm":"café\"1","state":"R",)"
            R"("policy":"SCHED_BATCH","prio":120,"cpu":1})");
  EXPECT_THAT(report.degraded, IsEmpty());
}

TEST(CurrentTaskPart, AVcpuWhoseVariableIsGoneIsDegradedAlone) {
  CurrentTaskPart part(*Types(), PerCpu({kOffset, 2 * kOffset}), kVariable);
  MemoryFake memory = GuestMemory();
  Report report = ReportOf(2);
  part.Copy({}, memory);
  part.Render({}, memory, report);
  EXPECT_NE(FindMember(report.vcpus[0].more, "task"), nullptr);
  EXPECT_EQ(FindMember(report.vcpus[1].more, "task"), nullptr);
  EXPECT_THAT(report.degraded, ElementsAre(Field(&Degraded::what, "vcpus[1].task")));
}

TEST(CurrentTaskPart, APointerThatIsNoKernelAddressIsNotFollowed) {
  CurrentTaskPart part(*Types(), PerCpu({kOffset}), kVariable);
  MemoryFake memory;
  memory.Put<uint64_t>(kVariable + kOffset, 0x1000);
  Report report = ReportOf(1);
  part.Copy({}, memory);
  EXPECT_EQ(memory.reads, 1u);
  part.Render({}, memory, report);
  EXPECT_THAT(report.degraded, ElementsAre(Field(&Degraded::what, "vcpus[0].task")));
}

TEST(CurrentTaskPart, AMemberThatTheKernelLacksIsNamed) {
  CurrentTaskPart part(*Types(/*with_policy=*/false), PerCpu({kOffset}), kVariable);
  MemoryFake memory = GuestMemory();
  Report report = ReportOf(1);
  part.Copy({}, memory);
  part.Render({}, memory, report);
  EXPECT_THAT(*FindMember(report.vcpus[0].more, "task"), HasSubstr("\"state\":\"R\",\"prio\":120"));
  EXPECT_THAT(report.degraded,
              ElementsAre(Field(&Degraded::why, HasSubstr("struct task_struct has no policy"))));
}

}  // namespace
}  // namespace watchsnap
