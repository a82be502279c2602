// libFuzzer target: any bytes as BTF, and the same bytes as a value of its types.
//   bazel run --config=fuzz //debug/types:btf_fuzz -- -max_total_time=60
#include <cstddef>
#include <cstdint>
#include <vector>

#include "debug/types/types_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  watchsnap::ExerciseTypes(std::vector<uint8_t>(data, data + size),
                           absl::MakeConstSpan(data, size));
  return 0;
}
