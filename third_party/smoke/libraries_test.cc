// Each library from elsewhere, called once: shows that its sources, overlay and link line fit
// together.

#include <cstdint>
#include <string>
#include <vector>

#include "Zydis/Zydis.h"
#include "absl/status/statusor.h"
#include <benchmark/benchmark.h>
#include "gtest/gtest.h"
#include "libdwarf.h"
#include "simdjson.h"
#include "zlib.h"
#include "zstd.h"

namespace watchsnap {
namespace {

TEST(LibrariesTest, ZydisDecodesAStore) {
  ZydisDecoder decoder;
  ASSERT_TRUE(
      ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
  const uint8_t code[] = {0x48, 0x01, 0x05, 0x10, 0x20, 0x30, 0x00};  // add %rax, 0x302010(%rip)
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  ASSERT_TRUE(
      ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, sizeof(code), &instruction, operands)));
  EXPECT_EQ(instruction.length, sizeof(code));
  EXPECT_EQ(instruction.mnemonic, ZYDIS_MNEMONIC_ADD);
  EXPECT_TRUE(operands[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
}

TEST(LibrariesTest, SimdjsonParsesOnDemand) {
  simdjson::ondemand::parser parser;
  simdjson::padded_string json(std::string_view(R"({"hits": 3})"));
  auto document = parser.iterate(json);
  EXPECT_EQ(int64_t{document["hits"]}, 3);
}

TEST(LibrariesTest, LibdwarfOpensThisProgram) {
  Dwarf_Debug debug = nullptr;
  Dwarf_Error error = nullptr;
  std::vector<char> path(4096);
  ASSERT_EQ(dwarf_init_path("/proc/self/exe", path.data(), path.size(), DW_GROUPNUMBER_ANY, nullptr,
                            nullptr, &debug, &error),
            DW_DLV_OK);
  dwarf_finish(debug);
}

TEST(LibrariesTest, CompressorsRoundTrip) {
  const std::string text(10000, 'w');
  std::string small(ZSTD_compressBound(text.size()), '\0');
  small.resize(ZSTD_compress(small.data(), small.size(), text.data(), text.size(), 1));
  std::string back(text.size(), '\0');
  EXPECT_EQ(ZSTD_decompress(back.data(), back.size(), small.data(), small.size()), text.size());
  EXPECT_EQ(back, text);
  EXPECT_EQ(crc32(0, reinterpret_cast<const Bytef*>("123456789"), 9), 0xcbf43926u);
}

TEST(LibrariesTest, BenchmarkCounts) {
  int runs = 0;
  benchmark::RegisterBenchmark("count", [&runs](benchmark::State& state) {
    for (auto _ : state) ++runs;
  })->Iterations(7);
  benchmark::ConsoleReporter reporter;
  EXPECT_EQ(benchmark::RunSpecifiedBenchmarks(&reporter), 1u);
  EXPECT_GE(runs, 7);
}

}  // namespace
}  // namespace watchsnap
