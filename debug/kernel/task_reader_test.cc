#include "debug/kernel/task_reader.h"

#include "debug/kernel/memory_fake.h"
#include "debug/types/btf_builder.h"
#include "debug/types/btf_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kTask = 0xffff'8880'0123'4000;

// A task_struct with the members at offsets that are all different from a real kernel's.
std::shared_ptr<const TypeGraph> Types(bool with_prio = true) {
  BtfBuilder btf;
  const uint32_t u32 = btf.Int("unsigned int", 4);
  const uint32_t s32 = btf.Int("int", 4, BTF_INT_SIGNED);
  const uint32_t character = btf.Int("char", 1, BTF_INT_CHAR);
  const uint32_t comm = btf.Array(character, 16);
  const uint32_t thread_info = btf.Struct("thread_info", 8, {{"flags", u32, 0}, {"cpu", u32, 32}});
  std::vector<BtfBuilder::MemberSpec> members = {
      {"thread_info", thread_info, 0}, {"__state", u32, 8 * 8},   {"exit_state", s32, 12 * 8},
      {"pid", s32, 16 * 8},            {"tgid", s32, 20 * 8},     {"policy", u32, 24 * 8},
      {"comm", comm, 32 * 8}};
  if (with_prio) members.push_back({"prio", s32, 28 * 8});
  btf.Struct("task_struct", 48, members);
  return *ReadBtf(btf.Bytes());
}

MemoryFake TaskMemory() {
  MemoryFake memory;
  memory.Map(kTask, 48);
  memory.Put<uint32_t>(kTask + 4, 3);
  memory.Put<uint32_t>(kTask + 8, 0x2001);  // TASK_INTERRUPTIBLE | TASK_FREEZABLE
  memory.Put<int32_t>(kTask + 16, 4711);
  memory.Put<int32_t>(kTask + 20, 4700);
  memory.Put<uint32_t>(kTask + 24, 7);
  memory.Put<int32_t>(kTask + 28, -51);
  memory.PutString(kTask + 32, "kworker/3:1");
  return memory;
}

TEST(TaskReader, ReadsEveryMember) {
  const TaskReader tasks(*Types());
  EXPECT_THAT(tasks.missing(), IsEmpty());
  MemoryFake memory = TaskMemory();
  const TaskInfo task = tasks.Read(memory, kTask);
  EXPECT_EQ(task.address, kTask);
  EXPECT_EQ(task.pid, 4711);
  EXPECT_EQ(task.tgid, 4700);
  EXPECT_EQ(task.state, 'S');
  EXPECT_EQ(task.policy, 7u);
  EXPECT_EQ(task.prio, -51);
  EXPECT_EQ(task.cpu, 3u);
  EXPECT_TRUE(task.has_comm);
  EXPECT_EQ(task.comm(), "kworker/3:1");
}

TEST(TaskReader, AMemberThatTheKernelLacksIsMissingAlone) {
  const TaskReader tasks(*Types(/*with_prio=*/false));
  EXPECT_THAT(tasks.missing(), ElementsAre(HasSubstr("struct task_struct has no prio")));
  MemoryFake memory = TaskMemory();
  const TaskInfo task = tasks.Read(memory, kTask);
  EXPECT_EQ(task.prio, std::nullopt);
  EXPECT_EQ(task.pid, 4711);
  EXPECT_EQ(task.cpu, 3u);
}

TEST(TaskReader, AKernelWithoutTheStructHasNothing) {
  BtfBuilder btf;
  btf.Int("int", 4);
  const TaskReader tasks(**ReadBtf(btf.Bytes()));
  EXPECT_THAT(tasks.missing(), ElementsAre(HasSubstr("task_struct")));
  MemoryFake memory = TaskMemory();
  EXPECT_EQ(tasks.Read(memory, kTask).pid, std::nullopt);
}

TEST(TaskReader, MemoryThatIsNotThereGivesNoValues) {
  const TaskReader tasks(*Types());
  MemoryFake memory;
  memory.Put<int32_t>(kTask + 16, 12);  // only the pid
  const TaskInfo task = tasks.Read(memory, kTask);
  EXPECT_EQ(task.pid, 12);
  EXPECT_EQ(task.state, std::nullopt);
  EXPECT_FALSE(task.has_comm);
}

TEST(TaskReader, ACommWithoutAnEndIsCutAtItsLength) {
  const TaskReader tasks(*Types());
  MemoryFake memory = TaskMemory();
  memory.PutString(kTask + 32, "0123456789abcdef");
  EXPECT_EQ(tasks.Read(memory, kTask).comm(), "0123456789abcdef");
}

TEST(TaskReader, StateLettersAreThoseOfProc) {
  EXPECT_EQ(TaskStateLetter(0, 0), 'R');
  EXPECT_EQ(TaskStateLetter(0x1, 0), 'S');
  EXPECT_EQ(TaskStateLetter(0x2, 0), 'D');
  EXPECT_EQ(TaskStateLetter(0x402, 0), 'I');
  EXPECT_EQ(TaskStateLetter(0x104, 0), 'T');   // TASK_STOPPED
  EXPECT_EQ(TaskStateLetter(0x8, 0), 't');
  EXPECT_EQ(TaskStateLetter(0x80, 0x10), 'X');  // TASK_DEAD, EXIT_DEAD
  EXPECT_EQ(TaskStateLetter(0x80, 0x20), 'Z');
  EXPECT_EQ(TaskStateLetter(0x40, 0), 'P');
  EXPECT_EQ(TaskStateLetter(0x8001, 0), 'D');  // frozen
  EXPECT_EQ(TaskStateLetter(0x1000, 0), 'D');
  EXPECT_EQ(TaskStateLetter(~uint64_t{0} & ~uint64_t{0x400}, 0), 'D');
}

}  // namespace
}  // namespace watchsnap
