// Any bytes as what a gdb sends: through the packet reader and every parser of operands. For the fuzz
// target and a unit test. Aborts where a promise of theirs is broken.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_PACKET_EXERCISE_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_PACKET_EXERCISE_H_

#include <optional>
#include <string_view>

#include "absl/log/check.h"
#include "debug/gdb_server/commands.h"
#include "debug/gdb_server/hex.h"
#include "debug/gdb_server/packet.h"

namespace watchsnap::gdb {

inline void ExercisePackets(std::string_view bytes) {
  PacketReader reader;
  const size_t half = bytes.size() / 2;
  reader.Add(bytes.substr(0, half));
  reader.Add(bytes.substr(half));
  while (std::optional<PacketReader::Event> event = reader.Next()) {
    const std::string& payload = event->payload;
    CHECK_LE(payload.size(), kMaxPacket);
    if (event->kind != PacketReader::Event::kPacket) continue;
    // What is framed is read back as it was, where the frame is not too long to be read.
    PacketReader again;
    again.Add(FramePacket(payload));
    const std::optional<PacketReader::Event> echo = again.Next();
    CHECK(echo.has_value());
    CHECK(echo->kind == PacketReader::Event::kBad || echo->payload == payload);
    for (size_t skip : {0, 1, 5, 6}) {
      if (skip > payload.size()) break;
      const std::string_view operands = std::string_view(payload).substr(skip);
      if (const auto memory = ParseMemory(operands)) CHECK_LE(memory->length, kMaxPacket);
      (void)ParseBreakpoint(operands);
      (void)ParseThread(operands);
      for (int vcpus : {1, 3}) {
        if (const auto actions = ParseVCont(operands, vcpus)) {
          CHECK_EQ(actions->size(), static_cast<size_t>(vcpus));
        }
      }
      if (const auto transfer = ParseTransfer(operands)) CHECK_LE(transfer->length, kMaxPacket);
      (void)BytesOfHex(operands);
      (void)NumberOfHex(operands);
    }
  }
}

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_PACKET_EXERCISE_H_
