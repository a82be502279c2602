// Does with a file of any bytes all that this folder can do with a vmlinux. For the mutation test
// and the fuzzer; a sanitizer watches. Testonly.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_ELF_EXERCISE_H_
#define WATCHSNAP_DEBUG_SYMBOLS_ELF_EXERCISE_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "debug/symbols/kernel_symbols.h"
#include "debug/symbols/symbols_report.h"

namespace watchsnap {

// True if the bytes were accepted as a kernel.
inline bool ExerciseElf(std::vector<uint8_t> bytes) {
  auto elf = ElfFile::FromBytes("mutated", std::move(bytes));
  if (!elf.ok()) return false;
  for (const ElfSection& section : (*elf)->sections()) {
    const auto contents = (*elf)->Contents(section);
    CHECK(contents.empty() || (contents.data() >= (*elf)->bytes().data() &&
                               contents.data() + contents.size() <=
                                   (*elf)->bytes().data() + (*elf)->bytes().size()));
  }
  std::array<uint8_t, 32> buffer;
  for (const ElfSegment& segment : (*elf)->segments()) {
    (void)(*elf)->ReadAtKva(segment.virtual_address, absl::MakeSpan(buffer));
    (void)(*elf)->ReadAtKva(segment.virtual_address + segment.memory_size - 8,
                            absl::MakeSpan(buffer).first(8));
  }
  const auto kernel = KernelSymbols::FromElf(*std::move(elf));
  if (!kernel.ok()) return false;
  const std::array<std::string_view, 3> names = {"jiffies_64", "do_timer", "jiffies65"};
  const SymbolsReport report = DescribeSymbols(**kernel, names);
  CHECK(!report.text.empty() && !report.json.empty());
  (void)(*kernel)->Symbolize(0xffffffff81000010);
  (void)(*kernel)->Symbolize(0);
  return true;
}

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_ELF_EXERCISE_H_
