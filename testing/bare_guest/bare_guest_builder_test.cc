// What the assembler emits, as an independent decoder reads it.
#include "testing/bare_guest/bare_guest_builder.h"

#include <optional>
#include <string>
#include <vector>

#include "debug/decode/store_shape.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;

// All instructions of the guest, in AT&T notation.
std::vector<std::string> Disassemble(BareGuestBuilder& guest) {
  const BareBoot boot = guest.Build();
  std::vector<std::string> lines;
  for (size_t at = 0; at < boot.image.size();) {
    const auto rest = absl::MakeConstSpan(boot.image).subspan(at);
    lines.push_back(DescribeInstruction(rest, boot.entry + at));
    const size_t length = InstructionLength(rest);
    if (length == 0) break;
    at += length;
  }
  return lines;
}

TEST(BareGuestBuilderTest, RegistersAndJumps) {
  BareGuestBuilder guest;
  const auto top = guest.Here();
  guest.Mov(Reg::kRax, 0x1122334455667788);
  guest.Mov(Reg::kR15, 1);
  guest.MovReg(Reg::kRsp, Reg::kR11);
  guest.AddImm(Reg::kR9, -1);
  guest.CmpImm(Reg::kRdi, 3);
  guest.Cmp(Reg::kR12, Reg::kR8);
  const auto end = guest.NewLabel();
  guest.JmpIf(If::kAboveOrEqual, end);
  guest.Jmp(top);
  guest.Bind(end);
  guest.Pause();
  guest.Hlt();
  guest.Cli();
  guest.Sti();
  guest.Nop();
  EXPECT_THAT(
      Disassemble(guest),
      ElementsAre("mov $0x1122334455667788, %rax", "mov $0x01, %r15", "mov %r11, %rsp",
                  "add $-0x01, %r9", "cmp $0x03, %rdi", "cmp %r8, %r12", "jnb 0xFFFFFFFF80100033",
                  "jmp 0xFFFFFFFF80100000", "pause", "hlt", "cli", "sti", "nop"));
}

TEST(BareGuestBuilderTest, MemoryOperandsOfEverySizeAndBase) {
  BareGuestBuilder guest;
  guest.Load(Reg::kRcx, Reg::kRbx, 1);
  guest.Load(Reg::kR10, Reg::kRbx, 2);
  guest.Load(Reg::kRcx, Reg::kR12, 4);
  guest.Load(Reg::kRcx, Reg::kRsp, 8);
  guest.Store(Reg::kRbx, Reg::kRsi, 1);
  guest.Store(Reg::kRbp, Reg::kRcx, 2);
  guest.Store(Reg::kR13, Reg::kR9, 4);
  guest.Store(Reg::kRbx, Reg::kRcx, 8);
  guest.StoreImm(Reg::kRbx, 0x12, 1);
  guest.StoreImm(Reg::kRbx, 0x1234, 2);
  guest.StoreImm(Reg::kRbx, 0x12345678, 4);
  guest.StoreImm(Reg::kRbx, 7, 8);
  guest.Inc(Reg::kRbx, 8);
  guest.LockInc(Reg::kR8, 2);
  guest.Xchg(Reg::kRbx, Reg::kRax, 1);
  guest.LockCmpxchg(Reg::kRbx, Reg::kRcx, 1);
  EXPECT_THAT(
      Disassemble(guest),
      ElementsAre("movzxb (%rbx), %ecx", "movzxw (%rbx), %r10d", "mov (%r12), %ecx",
                  "mov (%rsp), %rcx", "mov %sil, (%rbx)", "mov %cx, (%rbp)", "mov %r9d, (%r13)",
                  "mov %rcx, (%rbx)", "movb $0x12, (%rbx)", "movw $0x1234, (%rbx)",
                  "movl $0x12345678, (%rbx)", "movq $0x07, (%rbx)", "inc (%rbx)", "lock inc (%r8)",
                  "xchg %al, (%rbx)", "lock cmpxchg %cl, (%rbx)"));
}

TEST(BareGuestBuilderTest, EveryKindOfStoreIsOneStoringInstructionOfItsSize) {
  for (StoreKind kind : kAllStoreKinds) {
    SCOPED_TRACE(StoreKindName(kind));
    BareGuestBuilder guest;
    const auto site = guest.AdvanceWord(kind);
    const BareBoot boot = guest.Build();
    const auto code = absl::MakeConstSpan(boot.image).subspan(site.pc - boot.entry);
    const std::optional<StoreShape> shape = DecodeStoreShape(code, site.pc);
    ASSERT_TRUE(shape.has_value()) << DescribeInstruction(code, site.pc);
    EXPECT_EQ(shape->length, site.next_pc - site.pc);
    EXPECT_EQ(shape->store_bytes, StoreKindBytes(kind)) << DescribeInstruction(code, site.pc);
  }
}

TEST(BareGuestBuilderTest, StoreKindsAreWhatTheirNamesSay) {
  std::vector<std::string> lines;
  for (StoreKind kind : kAllStoreKinds) {
    BareGuestBuilder guest;
    const auto site = guest.AdvanceWord(kind);
    const BareBoot boot = guest.Build();
    lines.push_back(DescribeInstruction(
        absl::MakeConstSpan(boot.image).subspan(site.pc - boot.entry), site.pc));
  }
  EXPECT_THAT(
      lines,
      ElementsAre("mov %al, (%rbx)", "mov %ax, (%rbx)", "mov %eax, (%rbx)", "mov %rax, (%rbx)",
                  "inc (%rbx)", "lock inc (%rbx)", "lock addq $0x01, (%rbx)",
                  "lock xadd %ecx, (%rbx)", "xchg %eax, (%rbx)", "xchg %rax, (%rbx)",
                  "lock cmpxchg %ecx, (%rbx)", "lock cmpxchg %rcx, (%rbx)", "rep stosb",
                  "rep stosd", "rep movsb", "stosq", "movsd", "push %rax", "movnti %eax, (%rbx)",
                  "movups %xmm0, (%rbx)", "lock btsl $0x00, (%rbx)"));
}

TEST(BareGuestBuilderTest, PortsAndPowerOff) {
  BareGuestBuilder guest;
  guest.In8(0x80);
  guest.PowerOff();
  EXPECT_THAT(Disassemble(guest),
              ElementsAre("mov $0x80, %edx", "in %dx, %al", "mov $0x600, %edx", "mov $0x34, %al",
                          "out %al, %dx", "cli", "hlt", "jmp 0xFFFFFFFF8010000F"));
}

TEST(BareGuestBuilderTest, WordsShareNoCacheLineAndLieBehindTheCode) {
  BareGuestBuilder guest;
  const uint64_t a = guest.AllocateWord();
  const uint64_t b = guest.AllocateWord();
  EXPECT_EQ(b - a, 64u);
  EXPECT_EQ(a % 64, 0u);
  EXPECT_EQ(BareGuestBuilder::GpaOf(a), BareGuestBuilder::kDataGpa);
}

}  // namespace
}  // namespace watchsnap
