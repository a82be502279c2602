// Hexadecimal as GDB's remote protocol writes it: lower case, bytes in memory order, numbers without 0x.
//
// Threads: pure functions. Errors: nullopt for what is not hexadecimal, empty or too long.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_HEX_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_HEX_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace watchsnap::gdb {

constexpr int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

inline void AppendHexByte(uint8_t byte, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  out.push_back(kDigits[byte >> 4]);
  out.push_back(kDigits[byte & 15]);
}

inline std::string HexOf(absl::Span<const uint8_t> bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (uint8_t byte : bytes) AppendHexByte(byte, text);
  return text;
}

inline std::string HexOf(std::string_view text) {
  return HexOf(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

// Two digits a byte.
inline std::optional<std::vector<uint8_t>> BytesOfHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]);
    const int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(high << 4 | low));
  }
  return bytes;
}

// 1 to 16 digits, all of `text`.
inline std::optional<uint64_t> NumberOfHex(std::string_view text) {
  if (text.empty() || text.size() > 16) return std::nullopt;
  uint64_t number = 0;
  for (char c : text) {
    const int digit = HexDigit(c);
    if (digit < 0) return std::nullopt;
    number = number << 4 | static_cast<uint64_t>(digit);
  }
  return number;
}

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_HEX_H_
