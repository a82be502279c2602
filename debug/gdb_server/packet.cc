#include "debug/gdb_server/packet.h"

#include <utility>

#include "debug/gdb_server/hex.h"

namespace watchsnap::gdb {
namespace {

constexpr char kInterruptByte = 0x03;
constexpr char kEscape = '}';
constexpr char kEscapeXor = 0x20;

bool NeedsEscape(char byte) {
  return byte == '$' || byte == '#' || byte == kEscape || byte == '*';
}

std::string Unescape(std::string_view raw) {
  std::string payload;
  payload.reserve(raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == kEscape && i + 1 < raw.size()) {
      payload.push_back(static_cast<char>(raw[++i] ^ kEscapeXor));
    } else {
      payload.push_back(raw[i]);
    }
  }
  return payload;
}

}  // namespace

void PacketReader::Add(std::string_view bytes) {
  for (char byte : bytes) AddByte(byte);
}

void PacketReader::AddByte(char byte) {
  switch (state_) {
    case State::kIdle:
      if (byte == '$') {
        state_ = State::kPayload;
        raw_.clear();
        too_long_ = false;
        sum_ = 0;
      } else if (byte == '+') {
        // Nobody waits for more than one of each kind in a row: a flood of them is not kept.
        if (events_.empty() || events_.back().kind != Event::kAck) events_.push_back({Event::kAck});
      } else if (byte == '-') {
        if (events_.empty() || events_.back().kind != Event::kResend) {
          events_.push_back({Event::kResend});
        }
      } else if (byte == kInterruptByte) {
        if (events_.empty() || events_.back().kind != Event::kInterrupt) {
          events_.push_back({Event::kInterrupt});
        }
      }
      return;
    case State::kPayload:
      if (byte == '#') {
        state_ = State::kFirstDigit;
        return;
      }
      sum_ = static_cast<uint8_t>(sum_ + static_cast<uint8_t>(byte));
      if (raw_.size() == kMaxPacket) {
        too_long_ = true;
      } else {
        raw_.push_back(byte);
      }
      return;
    case State::kFirstDigit:
      first_digit_ = byte;
      state_ = State::kSecondDigit;
      return;
    case State::kSecondDigit: {
      state_ = State::kIdle;
      const int high = HexDigit(first_digit_);
      const int low = HexDigit(byte);
      const bool good = !too_long_ && high >= 0 && low >= 0 && (high << 4 | low) == sum_;
      if (good) {
        events_.push_back({Event::kPacket, Unescape(raw_)});
      } else {
        events_.push_back({Event::kBad});
      }
      raw_.clear();
      return;
    }
  }
}

std::optional<PacketReader::Event> PacketReader::Next() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::string FramePacket(std::string_view payload) {
  std::string frame = "$";
  frame.reserve(payload.size() + 4);
  uint8_t sum = 0;
  const auto add = [&frame, &sum](char byte) {
    frame.push_back(byte);
    sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(byte));
  };
  for (char byte : payload) {
    if (NeedsEscape(byte)) {
      add(kEscape);
      add(static_cast<char>(byte ^ kEscapeXor));
    } else {
      add(byte);
    }
  }
  frame.push_back('#');
  AppendHexByte(sum, frame);
  return frame;
}

}  // namespace watchsnap::gdb
