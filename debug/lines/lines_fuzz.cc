// libFuzzer target: any bytes as a vmlinux with debug information. Begin with a corpus of the test
// programs (bazel build //debug/lines:programs).
//   bazel run --config=fuzz //debug/lines:lines_fuzz -- -max_total_time=60 CORPUS
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "debug/lines/source_lines.h"
#include "debug/symbols/elf_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto elf = watchsnap::ElfFile::FromBytes("fuzz", std::vector<uint8_t>(data, data + size));
  if (!elf.ok()) return 0;
  std::vector<uint64_t> addresses = {0x401000};
  for (const watchsnap::ElfSection& section : (*elf)->sections()) {
    if (addresses.size() < 16) addresses.push_back(section.address + section.size / 2);
  }
  const auto lines = watchsnap::SourceLines::FromElf(*std::move(elf));
  if (!lines.ok()) return 0;
  for (uint64_t address : addresses) {
    const auto frames = (*lines)->Find(address);
    if (frames.ok()) CHECK(!frames->empty());
  }
  return 0;
}
