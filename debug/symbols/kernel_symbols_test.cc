#include "debug/symbols/kernel_symbols.h"

#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "debug/symbols/elf_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr uint64_t kText = 0xffffffff81000000;
constexpr uint64_t kInit = 0xffffffff83900000;
constexpr uint64_t kData = 0xffffffff83000000;
constexpr uint64_t kPerCpu = 0xffffffff83cc4000;
constexpr uint64_t kBss = 0xffffffff83cfc000;

// A kernel in small: the sections of 7.3 with their flags, and a symbol of each kind.
class KernelSymbolsTest : public testing::Test {
 protected:
  KernelSymbolsTest() {
    text_ = builder_.AddSection(".text", kText, SHF_ALLOC | SHF_EXECINSTR);
    // As in 7.3: data flagged executable.
    data_ = builder_.AddSection(".data", kData, SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR);
    init_ = builder_.AddSection(".init.data", kInit, SHF_ALLOC | SHF_WRITE);
    cpu_dev_ = builder_.AddSection(".x86_cpu_dev.init", kInit + 0x2000, SHF_ALLOC);
    percpu_ = builder_.AddSection(".data..percpu", kPerCpu, SHF_ALLOC | SHF_WRITE);
    bss_ = builder_.AddSection(".bss", kBss, SHF_ALLOC | SHF_WRITE, 4096, SHT_NOBITS);
    debug_ = builder_.AddSection(".debug_str", 0, 0, 64);
    builder_.AddSymbol("jiffies.c", SHN_ABS, 0, 0, STT_FILE, STB_LOCAL)
        .AddSymbol("jiffies_64", data_, kData + 0xa00, 8)
        .AddSymbol("jiffies", data_, kData + 0xa00, 0)
        .AddSymbol("scx_watchdog_timestamp", data_, kData + 0x320, 8, STT_OBJECT, STB_LOCAL)
        .AddSymbol("watchdog_timestamp", bss_, kBss + 0x40, 8)
        .AddSymbol("panic_cpu", data_, kData + 0x4ac, 4)
        .AddSymbol("wide_but_4_aligned", data_, kData + 0x4b4, 16)
        .AddSymbol("do_timer", text_, kText + 0x100, 21, STT_FUNC);
  }

  std::shared_ptr<const KernelSymbols> Kernel() {
    auto elf = ElfFile::FromBytes("vmlinux", builder_.Build());
    EXPECT_TRUE(elf.ok()) << elf.status();
    auto kernel = KernelSymbols::FromElf(*std::move(elf));
    EXPECT_TRUE(kernel.ok()) << kernel.status();
    return *std::move(kernel);
  }

  // The message with which watching `name` is refused.
  std::string Refusal(std::string_view name) {
    const auto resolved = Kernel()->ResolveData(name);
    EXPECT_FALSE(resolved.ok()) << name;
    return std::string(resolved.status().message());
  }

  ElfBuilder builder_;
  uint16_t text_, data_, init_, cpu_dev_, percpu_, bss_, debug_;
};

TEST_F(KernelSymbolsTest, DataResolvesByItsExactName) {
  const auto symbol = Kernel()->ResolveData("jiffies_64");
  ASSERT_TRUE(symbol.ok()) << symbol.status();
  EXPECT_EQ(symbol->name, "jiffies_64");
  EXPECT_EQ(symbol->address, kData + 0xa00);
  EXPECT_EQ(symbol->size, 8u);
  EXPECT_EQ(symbol->section, ".data");
  EXPECT_EQ(symbol->alignment, 512u);
}

TEST_F(KernelSymbolsTest, AWatchIsEightBytesWhereTheSymbolIsThatLongAndThatAligned) {
  const auto kernel = Kernel();
  EXPECT_EQ(WatchLength(*kernel->ResolveData("jiffies_64")), 8u);
  EXPECT_EQ(WatchLength(*kernel->ResolveData("panic_cpu")), 4u);
  EXPECT_EQ(WatchLength(*kernel->ResolveData("wide_but_4_aligned")), 4u);
  EXPECT_EQ(WatchLength(*kernel->ResolveData("jiffies")), 4u);
}

TEST_F(KernelSymbolsTest, ANameMergedIntoTheTailOfAnotherIsFound) {
  const auto symbol = Kernel()->ResolveData("watchdog_timestamp");
  ASSERT_TRUE(symbol.ok()) << symbol.status();
  EXPECT_EQ(symbol->address, kBss + 0x40);
  EXPECT_EQ(symbol->section, ".bss");
}

TEST_F(KernelSymbolsTest, AnUnknownNameIsRefusedWithTheAgreedWordsAndNearMisses) {
  EXPECT_THAT(Refusal("jiffies64"), StartsWith("symbol 'jiffies64' not found in vmlinux symtab"));
  EXPECT_THAT(Refusal("jiffies64"), HasSubstr("near misses: jiffies_64"));
  EXPECT_EQ(Kernel()->ResolveData("jiffies64").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(KernelSymbolsTest, NothingIsGuessed) {
  for (std::string_view name : {"kernel.jiffies_64", "jiffies_6", "JIFFIES_64", " jiffies_64",
                                "jiffies_64\n", "timestamp", ""}) {
    EXPECT_THAT(Refusal(name), HasSubstr("not found in vmlinux symtab")) << name;
  }
}

TEST_F(KernelSymbolsTest, ANameWithANulMatchesNoTwoNeighbours) {
  const std::string name("jiffies_64\0panic_cpu", 20);
  EXPECT_THAT(Refusal(name), StartsWith("symbol 'jiffies_64\\x00panic_cpu' not found"));
}

TEST_F(KernelSymbolsTest, ALongNameIsNotTruncated) {
  const std::string name(10'000, 'x');
  EXPECT_THAT(Refusal(name), StartsWith("symbol '" + name + "' not found in vmlinux symtab"));
}

TEST_F(KernelSymbolsTest, TheSameNameAtTwoAddressesIsRefusedWithBoth) {
  builder_.AddSymbol("state", data_, kData + 0x10, 4, STT_OBJECT, STB_LOCAL)
      .AddSymbol("state", bss_, kBss + 0x10, 8, STT_OBJECT, STB_LOCAL);
  EXPECT_THAT(Refusal("state"), HasSubstr("ambiguous"));
  EXPECT_THAT(Refusal("state"), HasSubstr("0xffffffff83000010 (data, 4 bytes in .data)"));
  EXPECT_THAT(Refusal("state"), HasSubstr("0xffffffff83cfc010 (data, 8 bytes in .bss)"));
}

TEST_F(KernelSymbolsTest, AThousandPlacesDoNotMakeAThousandLines) {
  for (int i = 0; i < 1000; ++i) builder_.AddSymbol("__key", bss_, kBss + 4 * i, 0);
  EXPECT_THAT(Refusal("__key"), HasSubstr("and 992 more"));
  EXPECT_LT(Refusal("__key").size(), 1000u);
}

TEST_F(KernelSymbolsTest, TheSameNameTwiceAtOneAddressIsOnePlace) {
  builder_.AddSymbol("twice", data_, kData + 0x18, 0, STT_NOTYPE)
      .AddSymbol("twice", data_, kData + 0x18, 8);
  const auto symbol = Kernel()->ResolveData("twice");
  ASSERT_TRUE(symbol.ok()) << symbol.status();
  EXPECT_EQ(symbol->size, 8u);
}

TEST_F(KernelSymbolsTest, TwoNamesAtOnePlaceAreNotAmbiguous) {
  const auto kernel = Kernel();
  EXPECT_EQ(kernel->ResolveData("jiffies")->address, kernel->ResolveData("jiffies_64")->address);
}

TEST_F(KernelSymbolsTest, AFileOfTheSameNameIsNoSecondPlace) {
  builder_.AddSymbol("panic_cpu", SHN_ABS, 0, 0, STT_FILE, STB_LOCAL);
  EXPECT_TRUE(Kernel()->ResolveData("panic_cpu").ok());
  EXPECT_THAT(Refusal("jiffies.c"), HasSubstr("not found"));
}

TEST_F(KernelSymbolsTest, AnUndefinedSymbolIsRefused) {
  builder_.AddSymbol("elsewhere", SHN_UNDEF, 0, 0, STT_NOTYPE, STB_WEAK);
  EXPECT_THAT(Refusal("elsewhere"), HasSubstr("it is undefined"));
}

TEST_F(KernelSymbolsTest, APerCpuSymbolIsRefusedBySection) {
  builder_.AddSymbol("current_task", percpu_, kPerCpu + 0x18, 8);
  EXPECT_THAT(Refusal("current_task"), HasSubstr("a per-CPU variable (section .data..percpu"));
}

TEST_F(KernelSymbolsTest, AnInitSymbolIsRefused) {
  builder_.AddSymbol("boot_only", init_, kInit + 8, 8)
      .AddSymbol("intel", cpu_dev_, kInit + 0x2000, 8);
  EXPECT_THAT(Refusal("boot_only"), HasSubstr("section .init.data, which the kernel frees"));
  EXPECT_THAT(Refusal("intel"), HasSubstr("section .x86_cpu_dev.init, which the kernel frees"));
}

TEST_F(KernelSymbolsTest, AnAbsoluteSymbolIsRefused) {
  builder_.AddSymbol("phys_startup_64", SHN_ABS, 0x1000000, 0, STT_NOTYPE);
  EXPECT_THAT(Refusal("phys_startup_64"), HasSubstr("absolute symbol, the number 0x1000000"));
}

TEST_F(KernelSymbolsTest, AFunctionIsRefusedByTypeWhereverItIs) {
  builder_.AddSymbol("in_data", data_, kData + 0x80, 16, STT_FUNC)
      .AddSymbol("chosen_at_boot", text_, kText + 0x200, 16, STT_GNU_IFUNC);
  EXPECT_THAT(Refusal("do_timer"), HasSubstr("it is a function (in section .text)"));
  EXPECT_THAT(Refusal("in_data"), HasSubstr("it is a function (in section .data)"));
  EXPECT_THAT(Refusal("chosen_at_boot"), HasSubstr("indirect function"));
}

TEST_F(KernelSymbolsTest, ALabelInTheTextIsRefusedAndOneInExecutableDataIsNot) {
  builder_.AddSymbol("entry_SYSCALL_64", text_, kText + 0x80, 332, STT_NOTYPE)
      .AddSymbol("init_stack", data_, kData + 0x100, 0, STT_NOTYPE);
  EXPECT_THAT(Refusal("entry_SYSCALL_64"), HasSubstr("it is a code label"));
  EXPECT_TRUE(Kernel()->ResolveData("init_stack").ok());
}

TEST_F(KernelSymbolsTest, AnUnalignedSymbolIsRefused) {
  builder_.AddSymbol("flag", data_, kData + 0x42, 1);
  EXPECT_THAT(Refusal("flag"), HasSubstr("0xffffffff83000042, which is not 4-byte aligned (its "
                                         "alignment is 2)"));
}

TEST_F(KernelSymbolsTest, WhatIsNotInMemoryIsRefused) {
  builder_.AddSymbol("a_string", debug_, 0, 8);
  EXPECT_THAT(Refusal("a_string"), HasSubstr("no fixed place"));
}

TEST_F(KernelSymbolsTest, AStrippedFileIsRefused) {
  builder_.Strip();
  auto elf = ElfFile::FromBytes("vmlinux", builder_.Build());
  ASSERT_TRUE(elf.ok()) << elf.status();
  const auto kernel = KernelSymbols::FromElf(*std::move(elf));
  ASSERT_FALSE(kernel.ok());
  EXPECT_THAT(kernel.status().message(), HasSubstr("'vmlinux' is stripped"));
}

TEST_F(KernelSymbolsTest, AnObjectThatIsNotLinkedIsRefused) {
  builder_.set_type(ET_REL);
  auto elf = ElfFile::FromBytes("scx.ko", builder_.Build());
  ASSERT_TRUE(elf.ok()) << elf.status();
  const auto kernel = KernelSymbols::FromElf(*std::move(elf));
  ASSERT_FALSE(kernel.ok());
  EXPECT_THAT(kernel.status().message(), HasSubstr("not a linked kernel"));
}

TEST_F(KernelSymbolsTest, LookupGivesEntriesOfAnyKind) {
  builder_.AddSymbol("both", data_, kData + 0x10, 4).AddSymbol("both", text_, kText, 8, STT_FUNC);
  const auto kernel = Kernel();
  const auto entries = kernel->Lookup("both");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].section, ".data");
  EXPECT_EQ(entries[1].type, STT_FUNC);
  EXPECT_THAT(kernel->Lookup("neither"), IsEmpty());
}

TEST_F(KernelSymbolsTest, ManyNamesResolveInTheirOrder) {
  const auto kernel = Kernel();
  const auto found = kernel->ResolveMany({"panic_cpu", "nothing", "jiffies_64", "panic_cpu"});
  ASSERT_EQ(found.size(), 4u);
  ASSERT_EQ(found[0].size(), 1u);
  EXPECT_EQ(found[0][0].address, kData + 0x4ac);
  EXPECT_THAT(found[1], IsEmpty());
  EXPECT_EQ(found[2][0].name, "jiffies_64");
  EXPECT_EQ(found[3].size(), 1u);
}

TEST_F(KernelSymbolsTest, AddressOfTakesAnyKindButOnlyOnePlace) {
  builder_.AddSymbol("state", data_, kData + 0x10, 4).AddSymbol("state", bss_, kBss + 0x10, 8);
  const auto kernel = Kernel();
  EXPECT_EQ(*kernel->AddressOf("do_timer"), kText + 0x100);
  EXPECT_EQ(kernel->AddressOf("state").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(kernel->AddressOf("nothing").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(KernelSymbolsTest, NearMissesAreDataAndTheBestComeFirst) {
  builder_.AddSymbol("panic_cpus", data_, kData + 0x500, 4)
      .AddSymbol("panic_cpu_fn", text_, kText + 0x300, 4, STT_FUNC);
  const auto kernel = Kernel();
  EXPECT_THAT(kernel->NearMisses("panic_cpux", 1), ElementsAre("panic_cpu"));
  EXPECT_THAT(kernel->NearMisses("apnic_cpu", 5), ElementsAre("panic_cpu", "panic_cpus"));
  EXPECT_THAT(kernel->NearMisses("PANIC_CPU", 1), ElementsAre("panic_cpu"));
  EXPECT_THAT(kernel->NearMisses("watchdog_time", 2),
              ElementsAre("watchdog_timestamp", "scx_watchdog_timestamp"));
  EXPECT_THAT(kernel->NearMisses("something else entirely", 5), IsEmpty());
}

TEST_F(KernelSymbolsTest, AnAddressInAFunctionHasItsName) {
  const auto kernel = Kernel();
  const auto inside = kernel->Symbolize(kText + 0x100 + 20);
  ASSERT_TRUE(inside.has_value());
  EXPECT_EQ(inside->name, "do_timer");
  EXPECT_EQ(inside->offset, 20u);
  EXPECT_EQ(inside->size, 21u);
  EXPECT_EQ(inside->address, kText + 0x100);
  EXPECT_FALSE(kernel->Symbolize(kText + 0x100 + 21).has_value());
  EXPECT_FALSE(kernel->Symbolize(kText + 0xff).has_value());
  EXPECT_FALSE(kernel->Symbolize(kData + 0xa00).has_value());
  EXPECT_FALSE(kernel->Symbolize(0).has_value());
  EXPECT_FALSE(kernel->Symbolize(~uint64_t{0}).has_value());
}

TEST_F(KernelSymbolsTest, AtOneAddressTheGlobalFunctionNamesIt) {
  builder_.AddSymbol("a_label", text_, kText + 0x400, 64, STT_NOTYPE)
      .AddSymbol("a_local", text_, kText + 0x400, 64, STT_FUNC, STB_LOCAL)
      .AddSymbol("a_weak", text_, kText + 0x400, 64, STT_FUNC, STB_WEAK)
      .AddSymbol("the_long_name", text_, kText + 0x400, 64, STT_FUNC)
      .AddSymbol("the_name", text_, kText + 0x400, 64, STT_FUNC);
  EXPECT_EQ(Kernel()->Symbolize(kText + 0x410)->name, "the_name");
}

TEST_F(KernelSymbolsTest, AnAddressBehindANestedRoutineBelongsToTheOuterOne) {
  builder_.AddSymbol("outer", text_, kText + 0x400, 0x100, STT_NOTYPE)
      .AddSymbol("inner", text_, kText + 0x440, 0x10, STT_NOTYPE)
      .AddSymbol("mark", text_, kText + 0x460, 0, STT_NOTYPE);
  const auto kernel = Kernel();
  EXPECT_EQ(kernel->Symbolize(kText + 0x444)->name, "inner");
  EXPECT_EQ(kernel->Symbolize(kText + 0x470)->name, "outer");
}

TEST_F(KernelSymbolsTest, ThreadsMaySymbolizeFromTheFirstCallOn) {
  const auto kernel = Kernel();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&kernel] {
      for (int n = 0; n < 1000; ++n) EXPECT_TRUE(kernel->Symbolize(kText + 0x100).has_value());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(OpenKernelSymbols, AMissingFileIsNamed) {
  const auto kernel = KernelSymbols::Open(testing::TempDir() + "/no-such-vmlinux");
  EXPECT_EQ(kernel.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(kernel.status().message(), HasSubstr("no-such-vmlinux"));
}

}  // namespace
}  // namespace watchsnap
