#include "debug/symbols/symbols_report.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "debug/symbols/elf_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::HasSubstr;

SymbolsReport Describe(std::vector<std::string_view> names) {
  constexpr uint64_t kData = 0xffffffff83000000;
  ElfBuilder builder;
  const uint16_t data = builder.AddSection(".data", kData, SHF_ALLOC | SHF_WRITE);
  builder.AddSymbol("jiffies_64", data, kData + 0xa00, 8)
      .AddSymbol("state", data, kData + 0x10, 4)
      .AddSymbol("state", data, kData + 0x20, 4)
      .AddBuildId("\x1f\xe9", 0xffffffff82a56e48);
  auto elf = ElfFile::FromBytes("vmlinux", builder.Build());
  return DescribeSymbols(**KernelSymbols::FromElf(*std::move(elf)), names);
}

TEST(SymbolsReport, ShowsWhatStandsThereAndThatItCanBeWatched) {
  const SymbolsReport report = Describe({"jiffies_64"});
  EXPECT_TRUE(report.all_watchable);
  EXPECT_EQ(report.text,
            "vmlinux: 6 symbols, build ID 1fe9\n"
            "jiffies_64\n"
            "  address 0xffffffff83000a00  size 8  section .data  alignment 512  type data\n"
            "  watchable: yes, 8 bytes\n");
  EXPECT_EQ(report.json,
            R"({"schema":"watchsnap.symbols/1","vmlinux":"vmlinux","build_id":"1fe9","symbols":[)"
            R"({"name":"jiffies_64","entries":[{"address":"0xffffffff83000a00","size":8,)"
            R"("section":".data","alignment":512,"type":"data"}],"watchable":true,)"
            R"("watched_bytes":8,"near_misses":[]}]})"
            "\n");
}

TEST(SymbolsReport, ShowsWhyANameCannotBeWatchedAndWhatResemblesIt) {
  const SymbolsReport report = Describe({"jiffies64", "state"});
  EXPECT_FALSE(report.all_watchable);
  EXPECT_THAT(report.text, HasSubstr("watchable: no, symbol 'jiffies64' not found"));
  EXPECT_THAT(report.text, HasSubstr("near misses: jiffies_64"));
  EXPECT_THAT(report.text, HasSubstr("ambiguous"));
  EXPECT_THAT(report.json, HasSubstr(R"("near_misses":["jiffies_64"])"));
  EXPECT_THAT(report.json, HasSubstr(R"("address":"0xffffffff83000020")"));
}

TEST(SymbolsReport, AnyBytesMakeValidJson) {
  const SymbolsReport report = Describe({"a\"b\\c\n\xff"});
  EXPECT_THAT(report.json, HasSubstr(R"("name":"a\"b\\c\u000a\u00ff")"));
}

}  // namespace
}  // namespace watchsnap
