// Sidecars with bytes changed, cut and repeated, as damage and malice may leave them: every read ends,
// and says something sensible. The fuzzer (snapshot_fuzz.cc) goes further.
#include <cstdint>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "snapshot/accessor/snapshot_exercise.h"
#include "snapshot/report/report_json.h"
#include "snapshot/report/report_samples.h"

namespace watchsnap {
namespace {

std::string Line() {
  Report report = FullReport();
  report.more = {
      {"maps", R"({"m.bss":{"id":1,"type":"array","value":{"a":1,"p":"0xffff888100000000"}},)"
               R"("h":{"id":2,"type":"hash","entries":[{"key":7,"value":{"a":2}}],"entries_total":3},)"
               R"("c":{"id":3,"type":"percpu_array","entries":[{"key":0,"values":[1,2]}]}})"},
      {"variables", R"({"x":{"type":"u64","value":1},"y":{"per_cpu":[{"value":1}]}})"},
      {"objects", R"({"0xffff888100000000":{"type":"t","value":{"a":"0xffff888100000000"}}})"},
  };
  std::string line;
  AppendReportJson(report, line);
  return line + "\n";
}

TEST(SnapshotMutationTest, DamageIsAlwaysReadToItsEnd) {
  const std::string whole = Line() + Line();
  ASSERT_EQ(ExerciseSidecar(whole, "maps.h.entries[0].value.a"), 2u);
  std::mt19937_64 random(1);
  size_t readable = 0;
  constexpr int kRuns = 1500;
  for (int run = 0; run < kRuns; ++run) {
    std::string text = whole;
    for (uint64_t i = 0; i <= random() % 3; ++i) {
      const size_t at = random() % text.size();
      switch (random() % 4) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text[at] = "{}[]\",:0\n\\"[random() % 10]; break;
        case 2: text.resize(at + 1); break;
        default: text.insert(at, text.substr(random() % text.size(), random() % 40)); break;
      }
    }
    std::string path = "maps.h.entries[0].value.a";
    path[random() % path.size()] = static_cast<char>(random() % 128);
    if (ExerciseSidecar(text, path) > 0) ++readable;
  }
  // Both kinds were among them.
  EXPECT_GT(readable, kRuns / 10);
  EXPECT_LT(readable, kRuns);
}

}  // namespace
}  // namespace watchsnap
