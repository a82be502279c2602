#include "snapshot/parts/variables_part.h"

#include <elf.h>

#include "debug/kernel/memory_fake.h"
#include "debug/symbols/elf_builder.h"
#include "debug/types/btf_builder.h"
#include "debug/types/btf_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr uint64_t kSlide = 0x1400'0000;
constexpr uint64_t kData = 0xffff'ffff'8300'0000;
constexpr uint64_t kPerCpu = 0xffff'ffff'83cc'4000;
constexpr uint64_t kText = 0xffff'ffff'8100'0000;
constexpr uint64_t kOffset = 0x0000'1000'0000'0000;
constexpr uint64_t kObject = 0xffff'8880'0400'0000;

// A kernel in small; its BTF has the variables' types, as a kernel's has those of per-CPU ones.
class VariablesPartTest : public testing::Test {
 protected:
  VariablesPartTest() {
    ElfBuilder elf;
    const uint16_t text = elf.AddSection(".text", kText, SHF_ALLOC | SHF_EXECINSTR);
    const uint16_t data = elf.AddSection(".data", kData, SHF_ALLOC | SHF_WRITE);
    const uint16_t per_cpu = elf.AddSection(".data..percpu", kPerCpu, SHF_ALLOC | SHF_WRITE);
    elf.AddSymbol("jiffies_64", data, kData + 0xa00, 8)
        .AddSymbol("odd", data, kData + 0x101, 1)
        .AddSymbol("root", data, kData + 0x200, 8)
        .AddSymbol("untyped", data, kData + 0x300, 4)
        .AddSymbol("twice", data, kData + 0x400, 4)
        .AddSymbol("twice", data, kData + 0x404, 4)
        .AddSymbol("ticks", per_cpu, kPerCpu + 0x40, 8)
        .AddSymbol("do_timer", text, kText, 16, STT_FUNC);
    symbols_ = *KernelSymbols::FromElf(*ElfFile::FromBytes("vmlinux", elf.Build()));

    BtfBuilder btf;
    const uint32_t u8 = btf.Int("unsigned char", 1);
    const uint32_t unsigned_long = btf.Int("long unsigned int", 8);
    const uint32_t u64 = btf.Typedef("u64", unsigned_long);
    const uint32_t sched = btf.Struct("sched", 16, {{"a", u64, 0}, {"b", u8, 64}});
    btf.Variable("jiffies_64", u64);
    btf.Variable("odd", u8);
    btf.Variable("root", btf.Pointer(sched));
    btf.Variable("ticks", u64);
    types_ = *ReadBtf(btf.Bytes());
    part_ = std::make_unique<VariablesPart>(
        KernelVariables({.symbols = symbols_, .slide = kSlide, .types = types_}),
        PerCpu({kOffset, 2 * kOffset}, kSlide));

    memory_.Map(kData + kSlide, 4096);
    memory_.Put<uint64_t>(kData + kSlide + 0xa00, 4294892296);
    memory_.Put<uint8_t>(kData + kSlide + 0x101, 9);
    memory_.Put<uint32_t>(kData + kSlide + 0x300, 0x44332211);
    memory_.Put<uint64_t>(kData + kSlide + 0x200, kObject);
    memory_.Map(kObject, 16);
    memory_.Put<uint64_t>(kObject, 77);
    memory_.Put<uint64_t>(kPerCpu + kSlide + 0x40 + kOffset, 100);
    memory_.Put<uint64_t>(kPerCpu + kSlide + 0x40 + 2 * kOffset, 200);
  }

  Report Capture(const CaptureContext& context) {
    part_->Copy(context, memory_);
    Report report;
    part_->Render(context, memory_, report);
    return report;
  }
  static std::string Variables(const Report& report) {
    const std::string* json = FindMember(report.more, "variables");
    return json == nullptr ? "" : *json;
  }

  std::shared_ptr<const KernelSymbols> symbols_;
  std::shared_ptr<const TypeGraph> types_;
  std::unique_ptr<VariablesPart> part_;
  MemoryFake memory_;
};

TEST_F(VariablesPartTest, ByTheirTypeAtTheirRunTimeAddress) {
  ASSERT_TRUE(part_->TakeAlways({"jiffies_64"}).ok());
  const Report report = Capture({});
  EXPECT_EQ(Variables(report), R"({"jiffies_64":{"address":"0xffffffff97000a00","type":"u64",)"
                               R"("bytes":8,"value":4294892296}})");
  EXPECT_THAT(report.degraded, IsEmpty());
}

TEST_F(VariablesPartTest, OfAPerCpuVariableEachCpusCopy) {
  ASSERT_TRUE(part_->TakeAlways({"ticks"}).ok());
  EXPECT_THAT(Variables(Capture({})),
              AllOf(HasSubstr(R"("ticks":{"type":"u64","bytes":8,"per_cpu":[{"address":)"),
                    HasSubstr(R"("value":100},)"), HasSubstr(R"("value":200}]}})")));
}

TEST_F(VariablesPartTest, WhatAPointerPointsToIsAnObject) {
  ASSERT_TRUE(part_->TakeAlways({"root"}).ok());
  const Report report = Capture({});
  EXPECT_THAT(Variables(report), HasSubstr(R"("value":"0xffff888004000000")"));
  EXPECT_EQ(*FindMember(report.more, "objects"),
            R"({"0xffff888004000000":{"type":"struct sched","value":{"a":77,"b":0}}})");
}

TEST_F(VariablesPartTest, ANullPointerHasNoObject) {
  memory_.Put<uint64_t>(kData + kSlide + 0x200, 0);
  ASSERT_TRUE(part_->TakeAlways({"root"}).ok());
  const Report report = Capture({});
  EXPECT_EQ(FindMember(report.more, "objects"), nullptr);
  EXPECT_THAT(report.degraded, IsEmpty());
}

TEST_F(VariablesPartTest, ADanglingPointerIsSaidAndNotFollowedFurther) {
  memory_.Unmap(kObject);
  ASSERT_TRUE(part_->TakeAlways({"root"}).ok());
  EXPECT_THAT(Capture({}).degraded,
              ElementsAre(Field(&Degraded::what, "objects[\"0xffff888004000000\"]")));
}

TEST_F(VariablesPartTest, WithoutATypeTheBytesAndWhy) {
  ASSERT_TRUE(part_->TakeAlways({"untyped"}).ok());
  const Report report = Capture({});
  EXPECT_THAT(Variables(report), HasSubstr(R"("bytes":4,"value":"hex:11223344")"));
  EXPECT_THAT(report.degraded, ElementsAre(Field(&Degraded::what, "variables[\"untyped\"]")));
}

TEST_F(VariablesPartTest, AVariableThatCannotBeWatchedCanBeTaken) {
  ASSERT_TRUE(part_->TakeAlways({"odd"}).ok());
  EXPECT_THAT(Variables(Capture({})), HasSubstr(R"("value":9)"));
}

TEST_F(VariablesPartTest, OnlyTheWatchThatWasHitTakesItsVariables) {
  ASSERT_TRUE(part_->TakeForWatch(3, {"jiffies_64"}).ok());
  ASSERT_TRUE(part_->TakeForWatch(4, {"odd"}).ok());
  const int hit[] = {3};
  const std::string variables = Variables(Capture({.kind = TriggerKind::kWatch, .watches = hit}));
  EXPECT_THAT(variables, HasSubstr("jiffies_64"));
  EXPECT_THAT(variables, Not(HasSubstr("odd")));
  EXPECT_EQ(Variables(Capture({})), "");
}

TEST_F(VariablesPartTest, AWatchWhoseIndexIsUsedAgainTakesItsOwn) {
  ASSERT_TRUE(part_->TakeForWatch(3, {"jiffies_64"}).ok());
  ASSERT_TRUE(part_->TakeForWatch(3, {"odd"}).ok());
  const int hit[] = {3};
  EXPECT_THAT(Variables(Capture({.kind = TriggerKind::kWatch, .watches = hit})),
              StartsWith("{\"odd\""));
}

TEST_F(VariablesPartTest, ATagsVariablesAreTakenByItsLaterCaptures) {
  ASSERT_TRUE(part_->TakeForTag("a", {"jiffies_64"}).ok());
  ASSERT_TRUE(part_->TakeForTag("a", {"odd", "jiffies_64"}).ok());
  const std::string variables = Variables(Capture({.tag = "a"}));
  EXPECT_THAT(variables, AllOf(HasSubstr("jiffies_64"), HasSubstr("odd")));
  EXPECT_EQ(Variables(Capture({.tag = "b"})), "");
}

TEST_F(VariablesPartTest, UnknownNamesAreRefusedWithNearMisses) {
  const absl::Status typo = part_->TakeAlways({"jiffies_46"});
  EXPECT_EQ(typo.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(typo.message(), AllOf(StartsWith("symbol 'jiffies_46' not found in vmlinux symtab"),
                                    HasSubstr("jiffies_64")));
  EXPECT_THAT(part_->TakeAlways({"do_timer"}).message(), HasSubstr("function"));
  EXPECT_THAT(part_->TakeAlways({"twice"}).message(), HasSubstr("ambiguous"));
  EXPECT_EQ(Variables(Capture({})), "");
}

TEST_F(VariablesPartTest, BytesThatWereNotCopiedAreNullAndSaid) {
  ASSERT_TRUE(part_->TakeAlways({"ticks"}).ok());
  memory_.Unmap(kPerCpu + kSlide + 0x40 + kOffset);
  const Report report = Capture({});
  EXPECT_THAT(Variables(report), AllOf(HasSubstr("\"value\":null}"), HasSubstr("\"value\":200}")));
  EXPECT_THAT(report.degraded,
              ElementsAre(Field(&Degraded::what, "variables[\"ticks\"].per_cpu[0]")));
}

}  // namespace
}  // namespace watchsnap
