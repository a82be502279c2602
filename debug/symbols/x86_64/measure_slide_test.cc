#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "debug/symbols/elf_builder.h"
#include "debug/symbols/kernel_identity.h"
#include "debug/symbols/x86_64/idt.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kSyscall = 0xffffffff81000080;
constexpr uint64_t kDivide = 0xffffffff81001030;
constexpr uint64_t kPageFault = 0xffffffff81001280;
constexpr uint64_t kMb2 = uint64_t{2} << 20;

std::shared_ptr<const KernelSymbols> Kernel() {
  ElfBuilder builder;
  const uint16_t text =
      builder.AddSection(".text", 0xffffffff81000000, SHF_ALLOC | SHF_EXECINSTR, 0x2000);
  builder.AddSymbol("entry_SYSCALL_64", text, kSyscall, 332, STT_NOTYPE)
      .AddSymbol("asm_exc_divide_error", text, kDivide, 31, STT_NOTYPE)
      .AddSymbol("asm_exc_page_fault", text, kPageFault, 43, STT_NOTYPE);
  auto elf = ElfFile::FromBytes("vmlinux", builder.Build());
  return *KernelSymbols::FromElf(*std::move(elf));
}

std::string Error(const KaslrEvidence& evidence) {
  const auto slide = MeasureSlide(*Kernel(), evidence);
  EXPECT_FALSE(slide.ok());
  EXPECT_EQ(slide.status().code(), absl::StatusCode::kFailedPrecondition);
  return std::string(slide.status().message());
}

TEST(MeasureSlide, ComesFromTheSystemCallEntry) {
  for (const uint64_t expected : {uint64_t{0}, kMb2, 511 * kMb2}) {
    const auto slide = MeasureSlide(*Kernel(), {.syscall_entry = kSyscall + expected, .gates = {}});
    ASSERT_TRUE(slide.ok()) << slide.status();
    EXPECT_EQ(slide->value, expected);
    EXPECT_EQ(slide->source, "MSR_LSTAR");
  }
}

TEST(MeasureSlide, ComesFromTheGatesWhereThereIsNoSystemCallEntry) {
  const auto slide = MeasureSlide(
      *Kernel(), {.syscall_entry = 0, .gates = {{0, kDivide + kMb2}, {14, kPageFault + kMb2}}});
  ASSERT_TRUE(slide.ok()) << slide.status();
  EXPECT_EQ(slide->value, kMb2);
  EXPECT_EQ(slide->source, "IDT gates");
}

TEST(MeasureSlide, IsNotKnownWithoutEvidence) {
  EXPECT_THAT(Error({}), StartsWith("slide not known"));
  EXPECT_THAT(Error({}), HasSubstr("MSR_LSTAR is 0"));
}

TEST(MeasureSlide, AnImpossibleSlideIsNotKnown) {
  for (const uint64_t bad : {uint64_t{0x1000}, kMb2 / 2, uint64_t{1} << 30, -kMb2}) {
    EXPECT_THAT(Error({.syscall_entry = kSyscall + bad, .gates = {}}),
                StartsWith("slide not known"));
  }
}

TEST(MeasureSlide, GatesOfTheEarlyBootAreNoEvidence) {
  constexpr uint64_t kEarlyStub = 0xffffffff838ac000;  // 9 bytes a vector
  EXPECT_THAT(Error({.syscall_entry = 0,
                     .gates = {{0, kEarlyStub + kMb2}, {14, kEarlyStub + 14 * 9 + kMb2}}}),
              StartsWith("slide not known"));
  EXPECT_THAT(Error({.syscall_entry = 0, .gates = {{14, kPageFault}}}),
              HasSubstr("1 known IDT gates, at least 2"));
}

TEST(MeasureSlide, EvidenceThatContradictsItselfIsNotBelieved) {
  const std::string error = Error({.syscall_entry = kSyscall + kMb2,
                                   .gates = {{0, kDivide}, {14, kPageFault}}});
  EXPECT_THAT(error, HasSubstr("MSR_LSTAR says 0x200000 and the IDT gates say 0x0"));
}

TEST(ReadIdtGates, GivesThePresentExceptionGates) {
  std::vector<uint8_t> table(4096);
  const auto put = [&table](int vector, uint64_t handler) {
    uint8_t* gate = table.data() + vector * 16;
    std::memcpy(gate, &handler, 2);
    gate[5] = 0x8e;
    const uint64_t rest = handler >> 16;
    std::memcpy(gate + 6, &rest, 6);
  };
  put(0, kDivide);
  put(14, kPageFault);
  put(0x80, kSyscall);  // no exception
  constexpr uint64_t kIdt = 0xfffffe0000000000;
  const auto read = [&table](uint64_t kva, absl::Span<uint8_t> out) {
    if (kva != kIdt || out.size() > table.size()) return absl::OutOfRangeError("not mapped");
    std::memcpy(out.data(), table.data(), out.size());
    return absl::OkStatus();
  };
  const auto gates = ReadIdtGates(kIdt, 4095, read);
  ASSERT_TRUE(gates.ok()) << gates.status();
  ASSERT_EQ(gates->size(), 2u);
  EXPECT_EQ((*gates)[0].handler, kDivide);
  EXPECT_EQ((*gates)[1].vector, 14);
  EXPECT_EQ((*gates)[1].handler, kPageFault);
  EXPECT_EQ(ReadIdtGates(kIdt, 15, read)->size(), 1u);
  EXPECT_FALSE(ReadIdtGates(0, 4095, read).ok());
  EXPECT_FALSE(ReadIdtGates(kIdt, 0, read).ok());
  EXPECT_FALSE(ReadIdtGates(kIdt + 4096, 4095, read).ok());
}

}  // namespace
}  // namespace watchsnap
