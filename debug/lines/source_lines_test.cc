// Small programs built with known lines, in several versions of DWARF.
//   source_lines_test: its data are named in BUILD.bazel and found from the runfiles.
#include "debug/lines/source_lines.h"

#include <cstdint>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "debug/symbols/kernel_symbols.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::HasSubstr;

constexpr std::string_view kFolder = "debug/lines/";

std::string Data(std::string_view name) { return absl::StrCat(kFolder, name); }

// The number of the line of a source of testdata that contains `text`, which only one does.
uint32_t LineWith(std::string_view file, std::string_view text) {
  std::ifstream in(Data(absl::StrCat("testdata/", file)));
  uint32_t number = 0, found = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (!absl::StrContains(line, text)) continue;
    EXPECT_EQ(found, 0u) << text << " is there twice";
    found = number;
  }
  EXPECT_NE(found, 0u) << file << " has no line with " << text;
  return found;
}

uint64_t AddressOf(const std::string& path, std::string_view symbol) {
  const auto symbols = KernelSymbols::Open(path);
  EXPECT_TRUE(symbols.ok()) << symbols.status();
  const auto address = (*symbols)->AddressOf(symbol);
  EXPECT_TRUE(address.ok()) << address.status();
  return address.value_or(0);
}

void ExpectFrame(const SourceFrame& frame, std::string_view function, std::string_view file,
                 uint32_t line) {
  EXPECT_EQ(frame.function, function);
  EXPECT_EQ(frame.KernelPath(), absl::StrCat("debug/lines/testdata/", file));
  EXPECT_TRUE(absl::EndsWith(frame.file, frame.KernelPath())) << frame.file;
  EXPECT_EQ(frame.linkage_name, "");
  EXPECT_EQ(frame.line, line);
}

class ProgramTest : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    path_ = Data(GetParam());
    auto lines = SourceLines::Open(path_);
    ASSERT_TRUE(lines.ok()) << lines.status();
    lines_ = *std::move(lines);
  }

  std::vector<SourceFrame> At(std::string_view symbol, uint64_t offset = 0) {
    const auto frames = lines_->Find(AddressOf(path_, symbol) + offset);
    EXPECT_TRUE(frames.ok()) << frames.status();
    return frames.value_or(std::vector<SourceFrame>());
  }

  std::string path_;
  std::unique_ptr<SourceLines> lines_;
};

TEST_P(ProgramTest, InlinedFramesInnermostFirst) {
  const std::vector<SourceFrame> frames = At("mark_innermost");
  ASSERT_EQ(frames.size(), 3u);
  ExpectFrame(frames[0], "innermost", "helpers.h", LineWith("helpers.h", "MARK(innermost)"));
  ExpectFrame(frames[1], "middle", "helpers.h", LineWith("helpers.h", "middle calls innermost"));
  ExpectFrame(frames[2], "outer", "program.c", LineWith("program.c", "outer calls middle"));
  EXPECT_EQ(frames[1].column, 3u);
}

TEST_P(ProgramTest, BetweenInlinedFrames) {
  const std::vector<SourceFrame> frames = At("mark_middle");
  ASSERT_EQ(frames.size(), 2u);
  ExpectFrame(frames[0], "middle", "helpers.h", LineWith("helpers.h", "MARK(middle)"));
  ExpectFrame(frames[1], "outer", "program.c", LineWith("program.c", "outer calls middle"));
}

TEST_P(ProgramTest, NothingInlined) {
  const std::vector<SourceFrame> frames = At("mark_outer");
  ASSERT_EQ(frames.size(), 1u);
  ExpectFrame(frames[0], "outer", "program.c", LineWith("program.c", "MARK(outer)"));
}

TEST_P(ProgramTest, AFunctionInASectionOfItsOwn) {
  const std::vector<SourceFrame> frames = At("mark_elsewhere");
  ASSERT_EQ(frames.size(), 1u);
  ExpectFrame(frames[0], "elsewhere", "program.c", LineWith("program.c", "MARK(elsewhere)"));
}

TEST_P(ProgramTest, ACallIsFoundFromItsReturnAddress) {
  const std::vector<SourceFrame> frames = At("mark_returned", -1);
  ASSERT_EQ(frames.size(), 1u);
  ExpectFrame(frames[0], "_start", "start.c", LineWith("start.c", "  outer();"));
}

TEST_P(ProgramTest, UnitsAreDecodedOnceEach) {
  (void)At("mark_outer");
  EXPECT_EQ(lines_->stats().units_decoded, 1u);
  (void)At("mark_innermost");
  EXPECT_EQ(lines_->stats().units_decoded, 1u);
  (void)At("mark_returned");
  EXPECT_EQ(lines_->stats().units_decoded, 2u);
  EXPECT_EQ(lines_->stats().units_cached, 2u);
}

TEST_P(ProgramTest, AnAddressOutsideIsNotFound) {
  for (uint64_t address : {uint64_t{0}, uint64_t{0xffffffff00000000}, ~uint64_t{0}}) {
    const auto frames = lines_->Find(address);
    EXPECT_EQ(frames.status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(frames.status().message(), HasSubstr(".debug_aranges"));
  }
  EXPECT_EQ(lines_->stats().units_decoded, 0u);
}

INSTANTIATE_TEST_SUITE_P(Dwarf, ProgramTest,
                         testing::Values("program_dwarf5.elf", "program_dwarf4.elf"));

TEST(SourceLinesTest, TheLeastRecentlyUsedUnitIsDropped) {
  const std::string path = Data("program_dwarf5.elf");
  const uint64_t first = AddressOf(path, "mark_outer");
  const uint64_t second = AddressOf(path, "mark_returned");
  const auto lines = *SourceLines::Open(path, {.cache_bytes = 1});
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ((*lines->Find(first))[0].function, "outer");
    EXPECT_EQ((*lines->Find(first))[0].function, "outer");
    EXPECT_EQ((*lines->Find(second))[0].function, "_start");
    EXPECT_EQ(lines->stats().units_cached, 1u);
  }
  EXPECT_EQ(lines->stats().units_decoded, 6u);
}

TEST(SourceLinesTest, ANameInAnotherUnit) {
  const std::string path = Data("cross_unit.elf");
  const auto lines = SourceLines::Open(path);
  ASSERT_TRUE(lines.ok()) << lines.status();
  const auto frames = (*lines)->Find(AddressOf(path, "inlined_begin"));
  ASSERT_TRUE(frames.ok()) << frames.status();
  ASSERT_EQ(frames->size(), 2u);
  EXPECT_EQ((*frames)[0].function, "from_another_unit");
  EXPECT_EQ((*frames)[1].function, "caller");
  EXPECT_EQ((*frames)[1].line, 42u);
  // No line table: the function alone.
  const auto plain = (*lines)->Find(AddressOf(path, "mark_caller"));
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_EQ(plain->size(), 1u);
  EXPECT_EQ((*plain)[0].function, "caller");
  EXPECT_EQ((*plain)[0].line, 0u);
  EXPECT_EQ((*plain)[0].KernelPath(), "");
}

TEST(SourceLinesTest, CodeGoesOnAfterAnEpilogue) {
  const std::string path = Data("epilogue.elf");
  const auto lines = SourceLines::Open(path);
  ASSERT_TRUE(lines.ok()) << lines.status();
  for (const auto& [symbol, offset, line] :
       {std::tuple{"_start", 0, 9u}, {"mark_epilogue", 0, 11u}, {"mark_epilogue", 1, 11u},
        {"mark_after", 0, 16u}}) {
    const auto frames = (*lines)->Find(AddressOf(path, symbol) + offset);
    ASSERT_TRUE(frames.ok()) << frames.status();
    ASSERT_EQ(frames->size(), 1u);
    EXPECT_EQ((*frames)[0].line, line) << symbol;
    EXPECT_EQ((*frames)[0].function, "leave");
    EXPECT_EQ((*frames)[0].linkage_name, "_RNvCs_5leave");
  }
}

TEST(SourceLinesTest, AKernelWithoutLinesSaysWhatToDo) {
  const auto lines = SourceLines::Open(Data("program_no_lines.elf"));
  EXPECT_EQ(lines.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(lines.status().message(), HasSubstr("CONFIG_DEBUG_INFO"));
}

TEST(SourceLinesTest, CompressedSectionsSayWhatToDo) {
  const auto lines = SourceLines::Open(Data("program_compressed.elf"));
  EXPECT_EQ(lines.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(lines.status().message(), HasSubstr("--decompress-debug-sections"));
}

TEST(SourceLinesTest, AFileThatIsNotThere) {
  EXPECT_EQ(SourceLines::Open("no/such/vmlinux").status().code(), absl::StatusCode::kNotFound);
}

TEST(SourceFrameTest, ThePathInTheKernelsTree) {
  SourceFrame frame{.file = "/build/linux/mm/slub.c", .build_prefix = 13};
  EXPECT_EQ(frame.KernelPath(), "mm/slub.c");
  frame.build_prefix = 0;
  EXPECT_EQ(frame.KernelPath(), frame.file);
  frame = {.file = "b/arch/x86/kernel/../include/asm/trace/./irq.h", .build_prefix = 2};
  EXPECT_EQ(frame.KernelPath(), "arch/x86/include/asm/trace/irq.h");
  // Built in a folder of its own beside the source.
  frame = {.file = "/src/out/../kernel/fork.c", .build_prefix = 9};
  EXPECT_EQ(frame.KernelPath(), "kernel/fork.c");
  EXPECT_EQ(SourceFrame().KernelPath(), "");
}

// It neither overruns the stack nor takes minutes; either answer is right.
TEST(SourceLinesTest, BlocksWithoutEndAreBoundedWork) {
  const std::string path = Data("deep.elf");
  const auto lines = SourceLines::Open(path);
  ASSERT_TRUE(lines.ok()) << lines.status();
  const auto frames = (*lines)->Find(AddressOf(path, "_start"));
  if (frames.ok()) {
    EXPECT_EQ((*frames)[0].function, "deep");
  } else {
    EXPECT_THAT(frames.status().message(), HasSubstr("damaged"));
  }
}

// Bytes of the debug sections changed at random: a Status or some frames, nothing else.
TEST(SourceLinesTest, DamagedDebugInformationIsBoundedWork) {
  for (std::string_view name : {"program_dwarf5.elf", "program_dwarf4.elf", "cross_unit.elf",
                                "epilogue.elf"}) {
    const std::string path = Data(name);
    std::ifstream in(path, std::ios::binary);
    const std::vector<uint8_t> good((std::istreambuf_iterator<char>(in)), {});
    const auto elf = *ElfFile::FromBytes(path, good);
    std::vector<ElfSection> debug;
    for (const ElfSection& section : elf->sections()) {
      if (absl::StartsWith(section.name, ".debug_") && section.size > 0) debug.push_back(section);
    }
    ASSERT_FALSE(debug.empty());
    const uint64_t start = AddressOf(path, "_start");
    std::mt19937 random(1);
    int refused = 0;
    for (int round = 0; round < 400; ++round) {
      std::vector<uint8_t> bytes = good;
      for (int i = 0; i <= round % 8; ++i) {
        const ElfSection& section = debug[random() % debug.size()];
        bytes[section.offset + random() % section.size] =
            round % 3 == 0 ? 0xff : static_cast<uint8_t>(random());
      }
      const auto lines = SourceLines::FromElf(*ElfFile::FromBytes("damaged", std::move(bytes)));
      if (!lines.ok()) {
        ++refused;
        continue;
      }
      for (uint64_t offset = 0; offset < 64; offset += 4) {
        const auto frames = (*lines)->Find(start + offset);
        if (frames.ok()) {
          EXPECT_FALSE(frames->empty());
        } else {
          ++refused;
        }
      }
    }
    EXPECT_GT(refused, 0) << name;
  }
}

}  // namespace
}  // namespace watchsnap
