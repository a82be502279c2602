// How long a real vmlinux's .BTF takes to read, and a type in it to find, against one look at each
// of its bytes in the same run. The exit code says whether it stays within what is asked:
// reading in at most 20 times that look (some ms, with 120,000 types), a find by name in at most
// 20 us once the index stands.
//
//   bazel run //debug/types:btf_benchmark -- /path/to/vmlinux
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "absl/log/check.h"
#include "debug/symbols/elf_file.h"
#include "debug/types/btf_reader.h"
#include "debug/types/member_path.h"

namespace watchsnap {
namespace {

constexpr int kRounds = 31;
constexpr int kFinds = 10'000;
constexpr double kMaxRatio = 20.0;
constexpr double kMaxFindUs = 20.0;

template <typename Work>
double Milliseconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  const auto end = std::chrono::steady_clock::now();
  return std::chrono::duration<double, std::milli>(end - start).count();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

int Run(const std::string& path) {
  auto opened = ElfFile::Open(path);
  CHECK_OK(opened);
  const std::shared_ptr<const ElfFile> elf = *std::move(opened);
  const ElfSection* section = elf->FindSection(".BTF");
  CHECK(section != nullptr);
  const auto bytes = elf->Contents(*section);
  std::vector<double> look, read, index;
  volatile uint64_t sum = 0;
  std::shared_ptr<const TypeGraph> graph;
  for (int i = 0; i < kRounds; ++i) {
    look.push_back(Milliseconds(
        [&] { sum = sum + std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}); }));
    graph.reset();
    read.push_back(Milliseconds([&] {
      auto result = ReadBtfOfElf(elf);
      CHECK_OK(result);
      graph = *result;
    }));
    index.push_back(Milliseconds([&] { CHECK_OK(graph->Find("struct task_struct")); }));
  }
  const double finds = Milliseconds([&] {
    for (int i = 0; i < kFinds; ++i) CHECK_OK(graph->Find("struct task_struct"));
  });
  const TypeId task = *graph->Find("struct task_struct");
  const double paths = Milliseconds([&] {
    for (int i = 0; i < kFinds; ++i) CHECK_OK(FindMember(*graph, task, "se.run_node.rb_right"));
  });
  const double ratio = Median(read) / Median(look);
  const double find_us = finds * 1000 / kFinds;
  std::printf("%zu bytes, %u types: look %.2f ms, read %.2f ms (%.1f times), index of structs "
              "%.2f ms, find %.3f us, member path %.3f us\n",
              bytes.size(), graph->size(), Median(look), Median(read), ratio, Median(index),
              find_us, paths * 1000 / kFinds);
  return ratio <= kMaxRatio && find_us <= kMaxFindUs ? 0 : 1;
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s VMLINUX\n", argv[0]);
    return 2;
  }
  return watchsnap::Run(argv[1]);
}
