// libFuzzer target: any bytes as a path (up to the first line end) and a sidecar.
//   bazel run --config=fuzz //snapshot/accessor:snapshot_fuzz -- -max_len=65536 -max_total_time=60
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "snapshot/accessor/snapshot_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(input.find('\n'), input.size());
  watchsnap::ExerciseSidecar(input.substr(std::min(line + 1, size)), input.substr(0, line));
  return 0;
}
