// The walk over BPF maps, frozen and rendering, over memory that is all an attacker's.
//   bazel run --config=fuzz //snapshot/parts:bpf_maps_fuzz
#include <cstddef>
#include <cstdint>

#include "snapshot/parts/bpf_maps_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  watchsnap::ExerciseHostileMemory(absl::MakeConstSpan(data, size));
  return 0;
}
