// Where stacks end, and copying them.
#include "debug/stacks/stack_extents.h"

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "debug/stacks/stack_copy.h"
#include "debug/symbols/elf_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

constexpr uint64_t kSlide = 0x200000;
constexpr uint64_t kData = 0xffffffff82000000;
constexpr uint64_t kPerCpu = 0xffffffff83000000;
constexpr uint64_t kCpuOffset =
    0xffff88807a000000 - kPerCpu - kSlide;  // CPU 0's copy is at 0xffff88807a000000
constexpr uint64_t kTask = 0xffffc90000100000;
constexpr uint64_t kIrqTop = 0xffffc90000009000;  // not aligned to its size
constexpr uint64_t kExceptions = 0xfffffe0000038000;
constexpr uint64_t kEntryTop = 0xfffffe0000003000;
constexpr uint64_t kNmiEnd = kExceptions + 2 * 4096 + 2 * 8192;

std::shared_ptr<const KernelSymbols> Kernel() {
  ElfBuilder builder;
  const uint16_t data = builder.AddSection(".data", kData, SHF_ALLOC | SHF_WRITE);
  const uint16_t per_cpu =
      builder.AddSection(".data..percpu", kPerCpu, SHF_ALLOC | SHF_WRITE, 0x20000);
  builder.AddSymbol("__per_cpu_offset", data, kData, 512)
      .AddSymbol("__start_init_stack", data, kData + 0x4000, 0, STT_NOTYPE)
      .AddSymbol("__end_init_stack", data, kData + 0x8000, 0, STT_NOTYPE)
      .AddSymbol("hardirq_stack_ptr", per_cpu, kPerCpu + 0x10, 8)
      .AddSymbol("cea_exception_stacks", per_cpu, kPerCpu + 0x18, 8)
      .AddSymbol("cpu_tss_rw", per_cpu, kPerCpu + 0x1000, 0x5000)
      .AddSymbol("exception_stacks", per_cpu, kPerCpu + 0x8000, 6 * 8192);
  auto elf = ElfFile::FromBytes("vmlinux", builder.Build());
  return *KernelSymbols::FromElf(*std::move(elf));
}

// Memory by word; what is not there is not mapped.
class Memory {
 public:
  Memory() {
    Put(kData + kSlide, kCpuOffset);
    Put(0xffff88807a000010, kIrqTop - 8);
    Put(0xffff88807a000018, kExceptions);
    Put(0xffff88807a001004, kEntryTop);
  }
  void Put(uint64_t kva, uint64_t word) { words_[kva] = word; }
  void Fill(uint64_t begin, uint64_t end) {
    for (uint64_t at = begin; at < end; at += 8) words_.emplace(at, at);
  }
  size_t ReadPrefix(uint64_t kva, absl::Span<uint8_t> out) const {
    size_t done = 0;
    for (; done + 8 <= out.size(); done += 8) {
      auto it = words_.find(kva + done);
      if (it == words_.end()) break;
      std::memcpy(out.data() + done, &it->second, 8);
    }
    return done;
  }
  absl::Status Read(uint64_t kva, absl::Span<uint8_t> out) const {
    if (ReadPrefix(kva, out) == out.size()) return absl::OkStatus();
    return absl::NotFoundError("not mapped");
  }

 private:
  std::map<uint64_t, uint64_t> words_;
};

class StackExtentsTest : public testing::Test {
 protected:
  StackExtents Extents(int cpus = 1) {
    auto extents = StackExtents::Create(
        *kernel_, kSlide,
        [this](uint64_t kva, absl::Span<uint8_t> out) { return memory_.Read(kva, out); }, cpus);
    EXPECT_TRUE(extents.ok()) << extents.status();
    return *std::move(extents);
  }
  void Take(StackCopy& copy, uint64_t sp) {
    copy.Take(Extents(), sp, [this](uint64_t kva, absl::Span<uint8_t> out) {
      return memory_.ReadPrefix(kva, out);
    });
  }

  const std::shared_ptr<const KernelSymbols> kernel_ = Kernel();
  Memory memory_;
};

TEST_F(StackExtentsTest, ATaskStackEndsAtItsAlignment) {
  const StackExtents extents = Extents();
  EXPECT_EQ(extents.thread_size(), 16u << 10);
  // The last with 5-level paging.
  const uint64_t kTask5 = 0xff6ad90a40588000;
  EXPECT_EQ(extents.Find(kTask5 + 0x3c78).end, kTask5 + 0x4000);
  for (uint64_t sp : {kTask, kTask + 8, kTask + 0x3ff8}) {
    const StackExtent extent = extents.Find(sp);
    EXPECT_EQ(extent.kind, StackExtent::Kind::kTask);
    EXPECT_EQ(extent.end, kTask + 0x4000);
    EXPECT_EQ(extent.previous_sp_at, 0u);
  }
  EXPECT_EQ(extents.Find(0x7ffc00001000).kind, StackExtent::Kind::kNone);
  EXPECT_EQ(extents.Find(~uint64_t{0}).kind, StackExtent::Kind::kNone);
}

TEST_F(StackExtentsTest, TheStacksOfACpu) {
  const StackExtents extents = Extents();
  EXPECT_EQ(extents.cpu_stacks().size(), 1u + 6 + 1);
  const StackExtent irq = extents.Find(kIrqTop - 8);
  EXPECT_EQ(irq.kind, StackExtent::Kind::kIrq);
  EXPECT_EQ(irq.begin, kIrqTop - 0x4000);
  EXPECT_EQ(irq.end, kIrqTop);
  EXPECT_EQ(irq.previous_sp_at, kIrqTop - 8);
  EXPECT_EQ(extents.Find(kIrqTop).kind, StackExtent::Kind::kTask);
  EXPECT_EQ(extents.Find(irq.begin).kind, StackExtent::Kind::kIrq);
  const StackExtent nmi = extents.Find(kNmiEnd - 40);
  EXPECT_EQ(nmi.kind, StackExtent::Kind::kException);
  EXPECT_EQ(nmi.end, kNmiEnd);
  EXPECT_EQ(nmi.begin, kNmiEnd - 8192);
  EXPECT_EQ(extents.Find(kEntryTop - 8).kind, StackExtent::Kind::kEntry);
}

TEST_F(StackExtentsTest, ACpuThatCannotBeReadIsAnError) {
  auto extents = StackExtents::Create(
      *kernel_, kSlide,
      [this](uint64_t kva, absl::Span<uint8_t> out) { return memory_.Read(kva, out); }, 2);
  EXPECT_EQ(extents.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(extents.status().message()), testing::HasSubstr("CPU 1"));
}

TEST_F(StackExtentsTest, OnlyWhatIsAboveSpIsCopied) {
  memory_.Fill(kTask, kTask + 0x5000);
  StackCopy copy;
  Take(copy, kTask + 0x3000);
  EXPECT_EQ(copy.bytes(), 0x1000u);
  uint64_t word = 0;
  auto out = absl::MakeSpan(reinterpret_cast<uint8_t*>(&word), 8);
  EXPECT_TRUE(copy.Read(kTask + 0x3ff8, out));
  EXPECT_EQ(word, kTask + 0x3ff8);
  EXPECT_FALSE(copy.Read(kTask + 0x3ffc, out));
  EXPECT_FALSE(copy.Read(kTask + 0x2ff8, out));
  EXPECT_FALSE(copy.Read(~uint64_t{0} - 3, out));
  Take(copy, 0x7ffc00001000);
  EXPECT_EQ(copy.bytes(), 0u) << "user space";
}

TEST_F(StackExtentsTest, FromAnNmiOverTheIrqStackToTheTask) {
  memory_.Put(kNmiEnd - 16, kIrqTop - 0x100);  // RSP
  memory_.Put(kNmiEnd - 32, 0x10);             // CS
  memory_.Put(kIrqTop - 8, kTask + 0x3f00);
  memory_.Fill(kNmiEnd - 0x200, kNmiEnd);
  memory_.Fill(kIrqTop - 0x100, kIrqTop);
  memory_.Fill(kTask, kTask + 0x4000);
  StackCopy copy;
  Take(copy, kNmiEnd - 0x200);
  ASSERT_EQ(copy.parts().size(), 3u);
  EXPECT_EQ(copy.parts()[1].kva, kIrqTop - 0x100);
  EXPECT_EQ(copy.parts()[2].kva, kTask + 0x3f00);
  EXPECT_EQ(copy.bytes(), 0x200u + 0x100 + 0x100);
}

TEST_F(StackExtentsTest, AnNmiInUserSpaceLeftNoStack) {
  memory_.Put(kNmiEnd - 16, kTask);
  memory_.Put(kNmiEnd - 32, 0x33);
  memory_.Fill(kNmiEnd - 0x200, kNmiEnd);
  memory_.Fill(kTask, kTask + 0x4000);
  StackCopy copy;
  Take(copy, kNmiEnd - 0x200);
  EXPECT_EQ(copy.parts().size(), 1u);
}

TEST_F(StackExtentsTest, StacksInACircleAreCopiedOnce) {
  memory_.Put(kIrqTop - 8, kIrqTop - 0x100);
  memory_.Fill(kIrqTop - 0x100, kIrqTop);
  StackCopy copy;
  Take(copy, kIrqTop - 0x100);
  EXPECT_EQ(copy.parts().size(), 1u);
  memory_.Put(kIrqTop - 8, kIrqTop - 0x108);  // and ever longer
  memory_.Fill(kIrqTop - 0x4000, kIrqTop);
  Take(copy, kIrqTop - 0x100);
  EXPECT_LE(copy.bytes(), StackCopy::kCapacity);
  EXPECT_LE(copy.parts().size(), StackCopy::kMaxParts);
}

TEST_F(StackExtentsTest, AStackThatIsNotMappedToItsEndIsCopiedAsFar) {
  memory_.Fill(kTask, kTask + 0x1000);
  StackCopy copy;
  Take(copy, kTask + 0x800);
  EXPECT_EQ(copy.bytes(), 0x800u);
  Take(copy, kTask + 0x2000);
  EXPECT_EQ(copy.bytes(), 0u);
  EXPECT_TRUE(copy.parts().empty());
}

}  // namespace
}  // namespace watchsnap
