// libFuzzer target: any bytes as a vmlinux.
//   bazel run --config=fuzz //debug/symbols:elf_fuzz -- -max_total_time=60
#include <cstddef>
#include <cstdint>
#include <vector>

#include "debug/symbols/elf_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  watchsnap::ExerciseElf(std::vector<uint8_t>(data, data + size));
  return 0;
}
