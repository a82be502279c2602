// What a look-up of source lines costs on a real vmlinux, in time and memory.
//
//   bazel run //debug/lines:source_lines_benchmark -- /path/to/vmlinux
//
// Fails (exit code 1) where a bound that the design rests on does not hold: decoded units take no
// more than the cache may, and what is mapped of the file is a fraction of its .debug_info.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/log/check.h"
#include "debug/lines/source_lines.h"
#include "debug/symbols/elf_file.h"

namespace watchsnap {
namespace {

constexpr size_t kAddresses = 1000;
constexpr size_t kAgain = 100;
constexpr size_t kCacheBytes = size_t{8} << 20;
constexpr uint64_t kMaxMappedShare = 2;  // of .debug_info: at most one in so many bytes

template <typename Work>
double Microseconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  const auto end = std::chrono::steady_clock::now();
  return std::chrono::duration<double, std::micro>(end - start).count();
}

// Of /proc/self/status, in KB.
uint64_t StatusField(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;) {
    uint64_t value = 0;
    if (word == name && in >> value) return value;
  }
  return 0;
}

double At(std::vector<double>& values, double quantile) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(quantile * static_cast<double>(values.size() - 1))];
}

int Run(const std::string& path) {
  const auto elf = ElfFile::Open(path);
  CHECK_OK(elf);
  const ElfSection* text = (*elf)->FindSection(".text");
  const ElfSection* info = (*elf)->FindSection(".debug_info");
  CHECK(text != nullptr && info != nullptr) << path;
  const uint64_t anonymous_before = StatusField("RssAnon:");

  std::unique_ptr<SourceLines> lines;
  const double open = Microseconds([&] {
    auto opened = SourceLines::Open(path, {.cache_bytes = kCacheBytes});
    CHECK_OK(opened);
    lines = *std::move(opened);
  });
  const double index = Microseconds([&] { (void)lines->Find(text->address); });
  std::vector<double> first, again;
  size_t found = 0, frames = 0;
  for (size_t i = 0; i < kAddresses; ++i) {
    const uint64_t address = text->address + text->size / kAddresses * i;
    const size_t decoded = lines->stats().units_decoded;
    const double took = Microseconds([&] {
      const auto result = lines->Find(address);
      found += result.ok();
      frames += result.ok() ? result->size() : 0;
    });
    if (lines->stats().units_decoded > decoded) first.push_back(took);
    again.push_back(Microseconds([&] {
                      for (size_t n = 0; n < kAgain; ++n) (void)lines->Find(address);
                    }) / kAgain);
  }
  CHECK_GT(found, kAddresses / 2);
  CHECK(!first.empty());
  const SourceLinesStats stats = lines->stats();
  const uint64_t anonymous = StatusField("RssAnon:") - anonymous_before;
  const uint64_t file = StatusField("RssFile:");
  std::printf("%s: %zu addresses, %zu with a line, %zu frames, warm\n", path.c_str(), kAddresses,
              found, frames);
  std::printf("  open                              %10.1f us\n", open);
  std::printf("  the first: index and one unit     %10.1f us   %zu units\n", index,
              stats.units_indexed);
  std::printf("  the first in a unit, median       %10.1f us   p90 %.1f  max %.1f\n",
              At(first, 0.5), At(first, 0.9), At(first, 1));
  std::printf("  a later one in it, median         %10.2f us   p90 %.2f  max %.2f\n",
              At(again, 0.5), At(again, 0.9), At(again, 1));
  std::printf("  decoded %zu units, kept %zu in %zu KB (<= %zu); anonymous memory %lu KB\n",
              stats.units_decoded, stats.units_cached, stats.bytes_cached >> 10, kCacheBytes >> 10,
              static_cast<unsigned long>(anonymous));
  std::printf("  pages of files mapped             %10lu KB   .debug_info has %lu KB\n",
              static_cast<unsigned long>(file), static_cast<unsigned long>(info->size >> 10));
  const bool bounded = stats.bytes_cached <= kCacheBytes &&
                       file <= (info->size >> 10) / kMaxMappedShare;
  return bounded ? 0 : 1;
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  const char* path = argc > 1 ? argv[1] : std::getenv("WATCHSNAP_VMLINUX");
  if (path == nullptr) {
    std::fprintf(stderr, "usage: %s VMLINUX (or WATCHSNAP_VMLINUX=VMLINUX)\n", argv[0]);
    return 2;
  }
  return watchsnap::Run(path);
}
