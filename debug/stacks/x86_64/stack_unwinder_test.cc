#include "debug/stacks/stack_unwinder.h"

#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "debug/stacks/format_stack.h"
#include "debug/stacks/x86_64/orc_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using x86_64::OrcBuilder;

constexpr uint64_t kSlide = 0x1a000000;
constexpr uint64_t kText = OrcBuilder::kText + kSlide;
constexpr uint64_t kTask = 0xffffc90000100000;
constexpr uint64_t kIrq = 0xffffc90000004000;
constexpr uint64_t kKernelCs = 0x10;
constexpr uint64_t kUserCs = 0x33;

// Numbers of Linux 7.3 (orc_types.h).
enum : uint8_t {
  kUndef = 0,
  kAx = 1,
  kDx = 2,
  kSp = 3,
  kBp = 4,
  kDi = 5,
  kR10 = 6,
  kR13 = 7,
  kPrev = 8,
  kSpInd = 9,
  kBpInd = 10
};
enum : uint8_t { kUndefined = 0, kEnd = 1, kCall = 2, kRegs = 3, kPartial = 4 };

// Copied bytes of stack, by word.
class Bytes {
 public:
  Bytes& Put(uint64_t kva, std::vector<uint64_t> words) {
    for (uint64_t word : words) {
      words_[kva] = word;
      kva += 8;
    }
    return *this;
  }
  // A struct pt_regs: r15 first.
  Bytes& PutRegs(uint64_t kva, uint64_t pc, uint64_t cs, uint64_t sp,
                 const std::map<int, uint64_t>& more = {}) {
    std::vector<uint64_t> words(21, 0xdead);
    for (const auto& [index, value] : more) words[index] = value;
    words[16] = pc;
    words[17] = cs;
    words[19] = sp;
    return Put(kva, words);
  }
  bool Read(uint64_t kva, absl::Span<uint8_t> out) const {
    for (size_t i = 0; i < out.size(); i += 8) {
      auto it = words_.find(kva + i);
      if (it == words_.end()) return false;
      std::memcpy(out.data() + i, &it->second, 8);
    }
    return true;
  }

 private:
  std::map<uint64_t, uint64_t> words_;
};

// Functions of 0x100 bytes, each with one rule.
OrcBuilder Kernel() {
  OrcBuilder orc;
  orc.Function("leaf", 0x0)
      .Entry(0x0, {.sp_offset = 8, .sp = kSp, .type = kCall})
      .Function("framed", 0x100)
      .Entry(0x100, {.sp_offset = 16, .bp_offset = -16, .sp = kBp, .bp = kPrev, .type = kCall})
      .Function("asm_irq", 0x200)
      .Entry(0x200, {.sp_offset = 0, .sp = kSp, .type = kRegs, .signal = true})
      .Function("asm_exc", 0x300)
      .Entry(0x300, {.sp_offset = 8, .sp = kSp, .type = kPartial, .signal = true})
      .Code(0x3d0, {0x48, 0x89, 0xc4})
      .Entry(0x3d3, {.sp_offset = 0, .sp = kSp, .type = kRegs, .signal = true})
      .Function("on_irq_stack", 0x400)
      .Entry(0x400, {.sp_offset = 24, .sp = kSpInd, .type = kCall})
      .Function("ret_from_fork_asm", 0x500)
      .Entry(0x500, {.type = kEnd})
      .Function("common_startup_64", 0x600)
      .Entry(0x600, {.type = kEnd})
      .Function("odd", 0x700)
      .Entry(0x700, {.type = kUndefined})
      .Function("aligned", 0x800)
      .Entry(0x800, {.sp = kR10, .type = kCall})
      .Function("bp_indirect", 0x900)
      .Entry(0x900, {.sp_offset = -8, .sp = kBpInd, .type = kCall})
      .Function("bad_type", 0xa00)
      .Entry(0xa00, {.sp_offset = 8, .sp = kSp, .type = 7})
      .Function("bad_base", 0xb00)
      .Entry(0xb00, {.sp_offset = 8, .sp = kPrev, .type = kCall})
      .Function("bad_bp", 0xc00)
      .Entry(0xc00, {.sp_offset = 8, .sp = kSp, .bp = kR13, .type = kCall})
      .Function("still", 0xd00)
      .Entry(0xd00, {.sp_offset = 0, .sp = kSp, .type = kCall})
      .Function("entry_SYSCALL_64", 0xe00)
      .Entry(0xe00, {.type = kEnd})
      .Function("__entry_text_start", 0xe00, 0)
      .Function("__entry_text_end", 0xf00, 0)
      .Function("bp_saved", 0xf00)
      .Entry(0xf00, {.sp_offset = 8, .bp_offset = 0, .sp = kSp, .bp = kBp, .type = kCall})
      .Function("by_ax", 0x1000)
      .Entry(0x1000, {.sp = kAx, .type = kCall})
      .Function("by_dx", 0x1100)
      .Entry(0x1100, {.sp = kDx, .type = kCall})
      .Function("by_di", 0x1200)
      .Entry(0x1200, {.sp = kDi, .type = kCall})
      .Function("by_r13", 0x1300)
      .Entry(0x1300, {.sp = kR13, .type = kCall})
      .Function("stop_here", 0x1400)
      .Entry(0x1400, {.type = kEnd})
      .Entry(0x1500, {.type = kUndefined})
      .Function("ret_from_fork", 0x1540)
      .Entry(0x1540, {.type = kEnd})
      .Function("sync_regs", 0x1580, 0x40)
      .Entry(0x1580, {.sp_offset = 8, .sp = kSp, .type = kCall})
      .Function("__x86_indirect_thunk_array", 0x1600, 32 * 16)
      .Entry(0x1600, {.type = kUndefined});
  return orc;
}

class StackUnwinderTest : public testing::Test {
 protected:
  UnwoundStack Unwind(UnwindRegisters registers,
                      int max_frames = StackUnwinder::kDefaultMaxFrames) {
    input_.registers = registers;
    input_.slide = kSlide;
    auto unwinder = StackUnwinder::Create(kernel_);
    EXPECT_TRUE(unwinder.ok()) << unwinder.status();
    return (*unwinder)->Unwind(
        input_, [this](uint64_t kva, absl::Span<uint8_t> out) { return bytes_.Read(kva, out); },
        max_frames);
  }
  std::vector<std::string> Names(const UnwoundStack& stack) {
    return FunctionNames(stack, *kernel_, kSlide);
  }

  const std::shared_ptr<const KernelSymbols> kernel_ = Kernel().Kernel();
  Bytes bytes_;
  UnwindInput input_;
};

TEST_F(StackUnwinderTest, CallsUntilAKernelThreadsStart) {
  bytes_.Put(kTask, {kText + 0x110, 0, 0xb0, kText + 0x505});
  const UnwoundStack stack = Unwind({.pc = kText + 0x10, .sp = kTask, .bp = kTask + 16});
  EXPECT_THAT(Names(stack), ElementsAre("leaf", "framed", "ret_from_fork_asm"));
  EXPECT_EQ(stack.end, StackEnd::kKernelThread) << stack.detail;
  EXPECT_TRUE(IsWhole(stack.end));
  EXPECT_EQ(stack.frames[0].kind, FrameKind::kInnermost);
  EXPECT_EQ(stack.frames[1].kind, FrameKind::kCaller);
  EXPECT_EQ(stack.frames[1].sp, kTask + 8);
  EXPECT_EQ(stack.frames[2].sp, kTask + 32);
  EXPECT_EQ(FormatStack(stack, *kernel_, kSlide),
            "leaf+0x10\nframed+0x10\nret_from_fork_asm+0x5\n[start of a kernel thread]\n");
}

TEST_F(StackUnwinderTest, AReturnAddressBehindTheLastInstructionBelongsToTheCaller) {
  // framed ends with a call: its return address is where asm_irq begins.
  bytes_.Put(kTask, {kText + 0x200, 0, 0xb0, kText + 0x1410});
  const UnwoundStack stack = Unwind({.pc = kText + 0x10, .sp = kTask, .bp = kTask + 16});
  EXPECT_THAT(Names(stack), ElementsAre("leaf", "framed", "stop_here"));
  EXPECT_EQ(stack.frames[1].lookup_pc(), kText + 0x1ff);
  EXPECT_EQ(stack.end, StackEnd::kEndOfStack);
}

TEST_F(StackUnwinderTest, AnInterruptedAddressIsLookedUpAsItIs) {
  // The first instruction of framed was interrupted: the byte before it is leaf's.
  bytes_.PutRegs(kTask, kText + 0x100, kKernelCs, kTask + 0x200, {{4, kTask + 0x208}});
  bytes_.Put(kTask + 0x200, {1, 0xb0, kText + 0x605});
  const UnwoundStack stack = Unwind({.pc = kText + 0x205, .sp = kTask});
  EXPECT_THAT(Names(stack), ElementsAre("asm_irq", "framed", "common_startup_64"));
  EXPECT_EQ(stack.frames[1].kind, FrameKind::kInterrupted);
  EXPECT_EQ(stack.frames[1].saved_registers, kTask);
  EXPECT_EQ(stack.frames[2].saved_registers, 0u);
  EXPECT_EQ(stack.end, StackEnd::kCpuStart);
  EXPECT_THAT(FormatStack(stack, *kernel_, kSlide),
              HasSubstr("asm_irq+0x5\n--- interrupted ---\nframed+0x0\n"));
}

TEST_F(StackUnwinderTest, RegistersOfUserSpaceEndTheStack) {
  bytes_.PutRegs(kTask, 0x7f0012345678, kUserCs, 0x7ffc00001000);
  UnwoundStack stack = Unwind({.pc = kText + 0x205, .sp = kTask});
  EXPECT_EQ(stack.end, StackEnd::kUserSpace);
  EXPECT_EQ(stack.user_pc, 0x7f0012345678u);
  EXPECT_EQ(stack.user_sp, 0x7ffc00001000u);
  EXPECT_THAT(Names(stack), ElementsAre("asm_irq"));
  stack = Unwind({.pc = 0x401000, .sp = 0x7ffc00001000, .user_mode = true});
  EXPECT_EQ(stack.end, StackEnd::kUserSpace);
  EXPECT_EQ(stack.user_pc, 0x401000u);
  EXPECT_TRUE(stack.frames.empty());
}

TEST_F(StackUnwinderTest, WhatTheProcessorPushedIsEnoughWhereNoMoreIsSaved) {
  bytes_.Put(kTask, {/*error code*/ 0, kText + 0x100, kKernelCs, 0x246, kTask + 0x200, 0x18});
  bytes_.Put(kTask + 0x200, {0xb0, kText + 0x605});
  const UnwoundStack stack = Unwind({.pc = kText + 0x305, .sp = kTask, .bp = kTask + 0x200});
  EXPECT_THAT(Names(stack), ElementsAre("asm_exc", "framed", "common_startup_64"));
  EXPECT_EQ(stack.frames[1].kind, FrameKind::kInterrupted);
  EXPECT_EQ(stack.frames[1].saved_registers, 0u);
  EXPECT_EQ(stack.end, StackEnd::kCpuStart) << stack.detail;
}

TEST_F(StackUnwinderTest, TheIrqStackLeadsBackToTheTasks) {
  // A handler called on the IRQ stack: its top word is the task's SP, where asm_irq's registers lie
  // deeper.
  bytes_.Put(kIrq - 16, {kText + 0x410,
                         kTask});  // leaf returns into on_irq_stack, whose SP is at the top word
  bytes_.Put(kTask, {1, 2, kText + 0x210});  // 24 bytes, the last a return address into asm_irq
  bytes_.PutRegs(kTask + 24, kText + 0x10, kKernelCs, kTask + 0x400);
  bytes_.Put(kTask + 0x400, {kText + 0x605});
  const UnwoundStack stack = Unwind({.pc = kText + 0x10, .sp = kIrq - 16});
  EXPECT_THAT(Names(stack),
              ElementsAre("leaf", "on_irq_stack", "asm_irq", "leaf", "common_startup_64"));
  EXPECT_EQ(stack.end, StackEnd::kCpuStart) << stack.detail;
}

TEST_F(StackUnwinderTest, EveryBaseRegister) {
  bytes_.Put(kTask, {1, 2, 3, kText + 0x1410, kTask + 32});
  for (uint64_t function : {0x800, 0x1000, 0x1100, 0x1200, 0x1300, 0x900}) {
    const UnwoundStack stack = Unwind({.pc = kText + function + 8,
                                       .sp = kTask,
                                       .bp = kTask + 40,
                                       .ax = kTask + 32,
                                       .dx = kTask + 32,
                                       .di = kTask + 32,
                                       .r10 = kTask + 32,
                                       .r13 = kTask + 32});
    EXPECT_EQ(stack.frames.size(), 2u) << std::hex << function;
    EXPECT_EQ(stack.end, StackEnd::kEndOfStack) << std::hex << function << stack.detail;
  }
}

TEST_F(StackUnwinderTest, ARegisterThatACallMayHaveChangedIsNotUsed) {
  bytes_.Put(kTask, {kText + 0x810, kText + 0x1410, 0});
  const UnwoundStack stack = Unwind({.pc = kText + 0x10, .sp = kTask, .r10 = kTask + 16});
  EXPECT_EQ(stack.end, StackEnd::kBadEntry);
  EXPECT_THAT(stack.detail, HasSubstr("calls do not preserve"));
  EXPECT_EQ(stack.frames.size(), 2u);
}

TEST_F(StackUnwinderTest, ARegisterThatAnInterruptSavedIs) {
  bytes_.PutRegs(kTask, kText + 0x810, kKernelCs, kTask + 0x200, {{7, kTask + 0x210}});
  bytes_.Put(kTask + 0x200, {0, kText + 0x1410});
  const UnwoundStack stack = Unwind({.pc = kText + 0x205, .sp = kTask});
  EXPECT_THAT(Names(stack), ElementsAre("asm_irq", "aligned", "stop_here"));
}

TEST_F(StackUnwinderTest, TheFramePointerIsReadWhereItWasSaved) {
  // bp_saved finds the caller's RBP at its own; framed then needs it.
  bytes_.Put(kTask, {kText + 0x110, 0, 0, kTask + 0x100});
  bytes_.Put(kTask + 0x100, {0xb0, kText + 0x1410});
  const UnwoundStack stack = Unwind({.pc = kText + 0xf10, .sp = kTask, .bp = kTask + 24});
  EXPECT_THAT(Names(stack), ElementsAre("bp_saved", "framed", "stop_here"));
  EXPECT_EQ(stack.frames[2].sp, kTask + 0x110);
}

TEST_F(StackUnwinderTest, ACallOfANullPointerShowsItsCaller) {
  bytes_.Put(kTask, {kText + 0x1410});
  const UnwoundStack stack = Unwind({.pc = 0, .sp = kTask});
  EXPECT_THAT(Names(stack), ElementsAre("", "stop_here"));
}

TEST_F(StackUnwinderTest, ANewTasksStartWasNotCalled) {
  bytes_.Put(kTask, {kText + 0x1540});  // padding before it
  const UnwoundStack stack = Unwind({.pc = kText + 0x10, .sp = kTask});
  EXPECT_THAT(Names(stack), ElementsAre("leaf", "ret_from_fork"));
  EXPECT_EQ(stack.frames[1].kind, FrameKind::kStart);
  EXPECT_EQ(stack.frames[1].lookup_pc(), kText + 0x1540);
  EXPECT_EQ(stack.end, StackEnd::kKernelThread);
}

TEST_F(StackUnwinderTest, RegistersThatErrorEntryPushedAreFoundBehindSyncRegs) {
  bytes_.Put(kTask, {kText + 0x305});
  bytes_.PutRegs(kTask + 8, 0x401000, kUserCs, 0x7ffc00001000);
  const UnwoundStack stack = Unwind({.pc = kText + 0x1590, .sp = kTask});
  EXPECT_THAT(Names(stack), ElementsAre("sync_regs", "asm_exc"));
  EXPECT_EQ(stack.end, StackEnd::kUserSpace) << stack.detail;
  EXPECT_EQ(stack.user_pc, 0x401000u);
}

TEST_F(StackUnwinderTest, AndAtTheInstructionBehindErrorEntry) {
  bytes_.PutRegs(kTask, 0x401000, kUserCs, 0x7ffc00001000);
  for (uint64_t offset : {0x3d0, 0x3d3}) {  // before and after mov rsp, rax
    const UnwoundStack stack = Unwind({.pc = kText + offset, .sp = kTask});
    EXPECT_THAT(Names(stack), ElementsAre("asm_exc"));
    EXPECT_EQ(stack.user_pc, 0x401000u) << stack.detail;
  }
}

TEST_F(StackUnwinderTest, RetpolinesArePassedWhereTheTableIsSilent) {
  bytes_.Put(kTask, {kText + 0x1625, kText + 0x1410});
  for (uint64_t offset : {0x20, 0x23, 0x26}) {
    const uint64_t sp = offset == 0x26 ? kTask : kTask + 8;
    const UnwoundStack stack = Unwind({.pc = kText + 0x1600 + offset, .sp = sp});
    EXPECT_THAT(Names(stack), ElementsAre("__x86_indirect_thunk_array", "stop_here")) << offset;
  }
  EXPECT_EQ(Unwind({.pc = kText + 0x1625, .sp = kTask}).end, StackEnd::kNoUnwindEntry);
}

TEST_F(StackUnwinderTest, GeneratedCodeIsPassedIfItIsKnownToKeepAFramePointer) {
  constexpr uint64_t kProgram = 0xffffffffc0001000;
  bytes_.Put(kTask, {0xb0, kText + 0x1410});
  UnwoundStack stack = Unwind({.pc = kProgram, .sp = kTask - 64, .bp = kTask});
  EXPECT_EQ(stack.end, StackEnd::kNoUnwindEntry);
  EXPECT_THAT(stack.detail, HasSubstr("0xffffffffc0001000"));
  input_.has_frame_pointer = [](uint64_t pc) { return pc == kProgram; };
  stack = Unwind({.pc = kProgram, .sp = kTask - 64, .bp = kTask});
  EXPECT_THAT(Names(stack), ElementsAre("", "stop_here"));
}

TEST_F(StackUnwinderTest, AnEndInEntryCodeIsUserSpacesSide) {
  EXPECT_EQ(Unwind({.pc = kText + 0xe04, .sp = 0x7ffc00001000}).end, StackEnd::kKernelEntry);
}

TEST_F(StackUnwinderTest, EveryWayToBeCutShortSaysWhy) {
  UnwoundStack stack = Unwind({.pc = kText + 0x10, .sp = kTask});
  EXPECT_EQ(stack.end, StackEnd::kNotCopied);
  EXPECT_EQ(stack.missing_address, kTask);
  EXPECT_EQ(stack.missing_bytes, 8u);
  EXPECT_EQ(stack.frames.size(), 1u);
  EXPECT_FALSE(IsWhole(stack.end));

  stack = Unwind({.pc = kText + 0x205, .sp = kTask});
  EXPECT_EQ(stack.end, StackEnd::kNotCopied);
  EXPECT_EQ(stack.missing_bytes, 168u) << "a struct pt_regs";

  EXPECT_EQ(Unwind({.pc = kText + 0x710, .sp = kTask}).end, StackEnd::kNoUnwindEntry);
  bytes_.Put(kTask, {kText + 0xd10, kText + 0xd10});
  for (uint64_t function : {0xa00, 0xb00, 0xc00}) {
    stack = Unwind({.pc = kText + function, .sp = kTask});
    EXPECT_EQ(stack.end, StackEnd::kBadEntry) << std::hex << function;
    EXPECT_FALSE(stack.detail.empty());
  }

  stack = Unwind({.pc = kText + 0xd10, .sp = kTask + 8});
  EXPECT_EQ(stack.end, StackEnd::kLoop) << "the stack pointer stays";
  EXPECT_FALSE(stack.detail.empty());
}

TEST_F(StackUnwinderTest, InterruptsInACircleAreALoop) {
  // Each stack's registers say that the other was interrupted.
  bytes_.PutRegs(kTask, kText + 0x205, kKernelCs, kIrq);
  bytes_.PutRegs(kIrq, kText + 0x205, kKernelCs, kTask);
  const UnwoundStack stack = Unwind({.pc = kText + 0x205, .sp = kTask});
  EXPECT_EQ(stack.end, StackEnd::kLoop);
  EXPECT_EQ(stack.frames.size(), 2u);
}

TEST_F(StackUnwinderTest, AnEndlessRowOfStacksIsALoopToo) {
  for (uint64_t i = 0; i < 100; ++i) {
    bytes_.PutRegs(kTask - i * 0x100000, kText + 0x205, kKernelCs, kTask - (i + 1) * 0x100000);
  }
  const UnwoundStack stack = Unwind({.pc = kText + 0x205, .sp = kTask});
  EXPECT_EQ(stack.end, StackEnd::kLoop);
  EXPECT_LE(stack.frames.size(), 8u);
}

TEST_F(StackUnwinderTest, FramesAreBounded) {
  for (uint64_t i = 0; i < 1000; ++i) bytes_.Put(kTask + 8 * i, {kText + 0x10});
  const UnwoundStack stack = Unwind({.pc = kText + 0x10, .sp = kTask}, 50);
  EXPECT_EQ(stack.end, StackEnd::kMaxFrames);
  EXPECT_EQ(stack.frames.size(), 50u);
}

TEST_F(StackUnwinderTest, AnyBytesEndSomewhere) {
  std::mt19937_64 random(7);
  std::map<StackEnd, int> ends;
  for (int round = 0; round < 20000; ++round) {
    auto word = [&random]() -> uint64_t {
      switch (random() % 4) {
        case 0:
          return kText + random() % 0x1600;
        case 1:
          return kTask + random() % 0x400;
        case 2:
          return kIrq + random() % 0x400;
        default:
          return random();
      }
    };
    Bytes bytes;
    for (uint64_t at = 0; at < 0x400; at += 8)
      bytes.Put(kTask + at, {word()}).Put(kIrq + at, {word()});
    bytes_ = bytes;
    const UnwoundStack stack = Unwind({.pc = word(),
                                       .sp = word(),
                                       .bp = word(),
                                       .ax = word(),
                                       .dx = word(),
                                       .di = word(),
                                       .r10 = word(),
                                       .r13 = word()},
                                      64);
    ASSERT_LE(stack.frames.size(), 64u);
    ASSERT_TRUE(IsWhole(stack.end) || !stack.detail.empty()) << StackEndName(stack.end);
    ASSERT_FALSE(FormatStack(stack, *kernel_, kSlide).empty());
    ++ends[stack.end];
    if (round > 2000 && ends.size() >= 8) break;
  }
  EXPECT_GE(ends.size(), 6u);
}

// Any byte of the table's sections may be wrong: refused, or stacks that end.
TEST(StackUnwinderMutationTest, DamagedTablesEndToo) {
  const std::vector<uint8_t> good = Kernel().Build();
  std::mt19937_64 random(11);
  int accepted = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> bytes = good;
    for (int i = 0; i < 3; ++i)
      bytes[bytes.size() - 1 - random() % (bytes.size() - OrcBuilder::kTextSize)] ^=
          1 << random() % 8;
    auto elf = ElfFile::FromBytes("mutated", std::move(bytes));
    if (!elf.ok()) continue;
    auto kernel = KernelSymbols::FromElf(*std::move(elf));
    if (!kernel.ok()) continue;
    auto unwinder = StackUnwinder::Create(*kernel);
    if (!unwinder.ok()) continue;
    ++accepted;
    for (uint64_t pc = 0; pc < 0x1600; pc += 0x80) {
      const UnwoundStack stack = (*unwinder)->Unwind(
          {.registers = {.pc = kText + pc, .sp = kTask, .bp = kTask + 64}, .slide = kSlide},
          [&random](uint64_t kva, absl::Span<uint8_t> out) {
            if (kva < kTask || kva > kTask + 0x1000) return false;
            for (size_t i = 0; i < out.size(); i += 8) {
              const uint64_t word =
                  random() % 2 != 0 ? kText + random() % 0x1600 : kTask + random() % 0x1000;
              std::memcpy(out.data() + i, &word, 8);
            }
            return true;
          });
      ASSERT_LE(stack.frames.size(), 128u);
    }
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace watchsnap
