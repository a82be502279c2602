// libFuzzer target: any bytes as what a gdb sends.
//   bazel run --config=fuzz //debug/gdb_server:packet_fuzz -- -max_total_time=60
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "debug/gdb_server/packet.h"
#include "debug/gdb_server/packet_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  watchsnap::gdb::ExercisePackets(bytes);
  // With a checksum that is right, so that the operands are reached.
  watchsnap::gdb::ExercisePackets(watchsnap::gdb::FramePacket(bytes));
  return 0;
}
