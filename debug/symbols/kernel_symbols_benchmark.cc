// How long three symbols of a real vmlinux take to resolve, against a plain scan of its symbol
// table, in the same run. At most 3 times is asked for; the exit code says whether it was so.
//
//   bazel run //debug/symbols:kernel_symbols_benchmark -- /path/to/vmlinux
//
// The plain scan is the floor: map the file, walk .symtab once and strcmp each name with one name.
// Both sides begin with nothing mapped. Figures are medians of alternating rounds; quote the ratio.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/log/check.h"
#include "debug/symbols/elf_file.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {
namespace {

constexpr int kRounds = 41;
constexpr double kMaxRatio = 3.0;
constexpr std::array<std::string_view, 3> kNames = {"jiffies_64", "scx_watchdog_timestamp",
                                                    "panic_cpu"};

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

uint64_t PlainScan(const std::string& path, const char* name) {
  const auto elf = ElfFile::Open(path);
  CHECK_OK(elf);
  const ElfSection* table = (*elf)->FindSection(".symtab");
  CHECK(table != nullptr) << path << " is stripped";
  const char* strings = reinterpret_cast<const char*>(
      (*elf)->Contents((*elf)->sections()[table->link]).data());
  const auto* symbols = reinterpret_cast<const Elf64_Sym*>((*elf)->Contents(*table).data());
  uint64_t address = 0;
  for (size_t i = 0; i < table->size / sizeof(Elf64_Sym); ++i) {
    if (strcmp(strings + symbols[i].st_name, name) == 0) address = symbols[i].st_value;
  }
  return address;
}

int Run(const std::string& path) {
  std::vector<double> plain, each, together, first_text, text;
  for (int round = 0; round < kRounds; ++round) {
    plain.push_back(Milliseconds([&] { CHECK_NE(PlainScan(path, "jiffies_64"), 0u); }));
    each.push_back(Milliseconds([&] {
      const auto kernel = KernelSymbols::Open(path);
      CHECK_OK(kernel);
      for (std::string_view name : kNames) CHECK_OK((*kernel)->ResolveData(name));
    }));
    together.push_back(Milliseconds([&] {
      const auto kernel = KernelSymbols::Open(path);
      CHECK_OK(kernel);
      for (const auto& entries : (*kernel)->ResolveMany(kNames)) CHECK(!entries.empty());
    }));
  }
  const auto kernel = *KernelSymbols::Open(path);
  const uint64_t address = *kernel->AddressOf("do_exit") + 1;
  const double index = Milliseconds([&] { CHECK(kernel->Symbolize(address).has_value()); });
  constexpr int kLookups = 100'000;
  size_t found = 0;
  const double lookups = Milliseconds([&] {
    for (int i = 0; i < kLookups; ++i) found += kernel->Symbolize(address + i * 64).has_value();
  });
  CHECK_GT(found, 0u);

  const double ratio = Median(each) / Median(plain);
  std::printf("%s: %zu symbols, medians of %d rounds, warm\n", path.c_str(), kernel->symbol_count(),
              kRounds);
  std::printf("  plain scan, 1 name                %8.3f ms\n", Median(plain));
  std::printf("  3 symbols, one after another      %8.3f ms   %.2f times that (<= %.0f)\n",
              Median(each), ratio, kMaxRatio);
  std::printf("  3 symbols in one pass             %8.3f ms   %.2f times\n", Median(together),
              Median(together) / Median(plain));
  std::printf("  index of all functions, once      %8.3f ms\n", index);
  std::printf("  address to function, each         %8.3f us\n", lookups * 1000 / kLookups);
  return ratio <= kMaxRatio ? 0 : 1;
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
