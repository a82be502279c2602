// Lines and inlined frames of the stock kernel, against binutils' addr2line.
//   stock_kernel_test VMLINUX
//
// Two habits of addr2line are known here, for the innermost frame only, each for few addresses:
//   - It gives the name of the *symbol* (with the ".isra.0", ".cold" of a compiler) when that
//     begins no earlier than what was inlined.
//   - binutils 2.40 takes file 0, the unit's own, for file 1 in the rows of a DWARF 5 line table
//     before the first that names a file, and so prints a header's line with the name of a .c file.
//     gdb and the line table itself have the header.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "debug/lines/source_lines.h"
#include "debug/symbols/kernel_symbols.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

constexpr size_t kAddresses = 100;
constexpr size_t kMinUnits = 20;
constexpr size_t kMinInlined = 20;

std::string& VmlinuxPath() {
  static std::string path;
  return path;
}

struct Reference {
  uint64_t address = 0;
  std::vector<SourceFrame> frames;
};

// One run for all addresses: it takes seconds to open the file.
std::vector<Reference> Addr2Line(const std::vector<uint64_t>& addresses) {
  std::string command = absl::StrCat("addr2line -a -f -i -e '", VmlinuxPath(), "'");
  for (uint64_t address : addresses) absl::StrAppendFormat(&command, " %x", address);
  std::vector<Reference> result;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return result;
  std::string output;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, n);
  EXPECT_EQ(pclose(pipe), 0) << "addr2line (binutils) is needed";
  std::string function;
  bool have_function = false;
  for (std::string_view line : absl::StrSplit(output, '\n', absl::SkipEmpty())) {
    if (absl::StartsWith(line, "0x")) {
      EXPECT_TRUE(absl::SimpleHexAtoi(line, &result.emplace_back().address)) << line;
      have_function = false;
    } else if (!have_function) {
      function = line;
      have_function = true;
    } else {
      SourceFrame frame{.function = function};
      line = line.substr(0, line.find(" (discriminator"));
      const size_t colon = line.rfind(':');
      frame.file = line.substr(0, colon);
      if (frame.file == "??") frame.file.clear();
      if (!absl::SimpleAtoi(line.substr(colon + 1), &frame.line)) frame.line = 0;
      result.back().frames.push_back(frame);
      have_function = false;
    }
  }
  return result;
}

class StockKernelTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto kernel = KernelSymbols::Open(VmlinuxPath());
    ASSERT_TRUE(kernel.ok()) << kernel.status();
    kernel_ = *std::move(kernel);
    auto lines = SourceLines::Open(VmlinuxPath());
    ASSERT_TRUE(lines.ok()) << lines.status();
    lines_ = *std::move(lines);
  }
  static void TearDownTestSuite() {
    kernel_.reset();
    lines_.reset();
  }
  void SetUp() override { ASSERT_TRUE(kernel_ != nullptr && lines_ != nullptr); }

  // The same addresses for the same kernel: spread over all of its code, somewhere in a function
  // (not in the room before one that is there to be patched).
  static std::vector<uint64_t> Sample() {
    std::vector<uint64_t> addresses;
    const ElfSection* text = kernel_->elf().FindSection(".text");
    if (text == nullptr) return addresses;
    // A quarter more places than are wanted: not each is in a function.
    const uint64_t step = text->size / (kAddresses + kAddresses / 4);
    for (uint64_t i = 0; addresses.size() < kAddresses && i * step < text->size; ++i) {
      const auto symbol = kernel_->Symbolize(text->address + i * step);
      if (symbol.has_value() && symbol->size > 0 && !absl::StartsWith(symbol->name, "__pfx_")) {
        addresses.push_back(text->address + i * step);
      }
    }
    return addresses;
  }

  static std::shared_ptr<const KernelSymbols> kernel_;
  static std::unique_ptr<SourceLines> lines_;
};

std::shared_ptr<const KernelSymbols> StockKernelTest::kernel_;
std::unique_ptr<SourceLines> StockKernelTest::lines_;

std::string Text(const std::vector<SourceFrame>& frames) {
  std::string text;
  for (const SourceFrame& frame : frames) {
    absl::StrAppend(&text, "  ", frame.function, " ", frame.file, ":", frame.line, "\n");
  }
  return text;
}

TEST_F(StockKernelTest, AHundredAddressesAsAddr2LineHasThem) {
  const std::vector<uint64_t> addresses = Sample();
  ASSERT_EQ(addresses.size(), kAddresses);
  const std::vector<Reference> references = Addr2Line(addresses);
  ASSERT_EQ(references.size(), kAddresses);
  size_t inlined = 0, by_symbol = 0, by_file = 0;
  for (size_t i = 0; i < kAddresses; ++i) {
    const std::vector<SourceFrame>& wanted = references[i].frames;
    ASSERT_EQ(references[i].address, addresses[i]);
    const auto frames = lines_->Find(addresses[i]);
    ASSERT_TRUE(frames.ok()) << frames.status();
    SCOPED_TRACE(absl::StrFormat("0x%x\nwanted\n%sfound\n%s", addresses[i], Text(wanted),
                                 Text(*frames)));
    ASSERT_EQ(frames->size(), wanted.size());
    if (frames->size() > 1) ++inlined;
    for (size_t f = 0; f < wanted.size(); ++f) {
      const SourceFrame& frame = (*frames)[f];
      EXPECT_EQ(frame.line, wanted[f].line);
      if (frame.file != wanted[f].file) {
        ++by_file;
        EXPECT_EQ(f, 0u);
        EXPECT_TRUE(absl::EndsWith(frame.file, ".h") && !absl::EndsWith(wanted[f].file, ".h"));
      }
      const std::string& name = frame.linkage_name.empty() ? frame.function : frame.linkage_name;
      if (name == wanted[f].function) continue;
      ++by_symbol;
      EXPECT_EQ(f, 0u);
      EXPECT_EQ(kernel_->Symbolize(addresses[i])->name, wanted[f].function);
    }
  }
  EXPECT_GE(lines_->stats().units_decoded, kMinUnits);
  EXPECT_GE(inlined, kMinInlined);
  EXPECT_LE(by_symbol, kAddresses / 10);
  EXPECT_LE(by_file, kAddresses / 20);
  std::printf("%zu addresses, %zu units, %zu with inlined frames; the innermost has the symbol's "
              "name in %zu, the unit's file in %zu\n",
              kAddresses, lines_->stats().units_decoded, inlined, by_symbol, by_file);
}

TEST_F(StockKernelTest, PathsAreThoseOfTheKernelsTree) {
  const auto frames = lines_->Find(*kernel_->AddressOf("do_timer"));
  ASSERT_TRUE(frames.ok()) << frames.status();
  EXPECT_EQ(frames->back().function, "do_timer");
  EXPECT_EQ(frames->back().KernelPath(), "kernel/time/timekeeping.c");
  EXPECT_GT(frames->back().line, 0u);
}

// A stack's return addresses: the line is the call's.
TEST_F(StockKernelTest, EveryByteOfAFunctionIsInIt) {
  const uint64_t start = *kernel_->AddressOf("do_exit");
  const uint64_t size = kernel_->Symbolize(start)->size;
  ASSERT_GT(size, 0u);
  for (uint64_t offset = 0; offset < size; ++offset) {
    const auto frames = lines_->Find(start + offset);
    ASSERT_TRUE(frames.ok()) << frames.status();
    ASSERT_EQ(frames->back().function, "do_exit") << offset;
    ASSERT_FALSE(frames->front().file.empty()) << offset;
  }
}

TEST_F(StockKernelTest, DataHasNoLine) {
  const auto frames = lines_->Find(*kernel_->AddressOf("jiffies_64"));
  EXPECT_EQ(frames.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s VMLINUX\n", argv[0]);
    return 2;
  }
  watchsnap::VmlinuxPath() = argv[1];
  return RUN_ALL_TESTS();
}
