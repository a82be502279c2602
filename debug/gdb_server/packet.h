// The framing of GDB's remote serial protocol: "$payload#xx", acknowledgements and the interrupt byte.
//
//   PacketReader reader;
//   reader.Add(bytes_from_the_socket);
//   while (std::optional<PacketReader::Event> event = reader.Next()) ...
//   socket.Write(FramePacket("OK"));
//
// Bytes from the peer are hostile: a payload is at most kMaxPacket bytes, what is longer is skipped as
// a bad packet; nothing the peer sends makes the reader keep more than that.
// Threads: none of its own; one caller. Errors: kBad events, which a caller answers with '-' while
// acknowledgements are on.
// Source: "Remote Protocol", "Overview" in the GDB manual, appendix E.1.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_PACKET_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_PACKET_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace watchsnap::gdb {

// Of a payload, in bytes on the wire; what qSupported announces.
inline constexpr size_t kMaxPacket = 0x4000;

class PacketReader {
 public:
  struct Event {
    enum Kind {
      kPacket,     // `payload`, checksum right, escapes undone
      kBad,        // a packet with a wrong checksum, or too long
      kAck,        // '+'
      kResend,     // '-'
      kInterrupt,  // 0x03 outside a packet
    } kind;
    std::string payload = {};
  };

  // Bytes outside packets that mean nothing are dropped, as the manual wants.
  void Add(std::string_view bytes);
  std::optional<Event> Next();

 private:
  enum class State { kIdle, kPayload, kFirstDigit, kSecondDigit };
  void AddByte(char byte);

  State state_ = State::kIdle;
  std::string raw_;  // as on the wire
  bool too_long_ = false;
  uint8_t sum_ = 0;
  char first_digit_ = 0;
  std::deque<Event> events_;
};

// `payload` with escapes and checksum.
std::string FramePacket(std::string_view payload);

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_PACKET_H_
