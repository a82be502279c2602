#include "snapshot/report/json_text.h"

#include <charconv>
#include <cstddef>
#include <cstring>

namespace watchsnap {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

// The length of the well-formed UTF-8 sequence at the start of `text`, or 0 (Unicode 15, table
// 3-7).
size_t Utf8SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const auto within = [&](size_t i, uint8_t low, uint8_t high) {
    return byte(i) >= low && byte(i) <= high;
  };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return within(1, 0x80, 0xBF) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const uint8_t low = first == 0xE0 ? 0xA0 : 0x80;
    const uint8_t high = first == 0xED ? 0x9F : 0xBF;
    return within(1, low, high) && within(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const uint8_t low = first == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xF4 ? 0x8F : 0xBF;
    return within(1, low, high) && within(2, 0x80, 0xBF) && within(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

bool IsPlain(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

// How many bytes at the start of `text` need no escape; eight at a time, because nearly all text is such.
size_t PlainPrefix(std::string_view text) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  // The high bit of each byte that is zero; bytes above the lowest such may be marked wrongly.
  const auto zeros = [](uint64_t v) { return (v - kOnes) & ~v & kHigh; };
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    const uint64_t control = (word - kOnes * 0x20) & ~word & kHigh;
    if ((word & kHigh) != 0 || control != 0 || zeros(word ^ kOnes * '"') != 0 ||
        zeros(word ^ kOnes * '\\') != 0) {
      break;
    }
  }
  while (at < text.size() && IsPlain(text[at])) ++at;
  return at;
}

void AppendEscaped(std::string& out, char c) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default:
      out += "\\u00";
      out += kHexDigits[(static_cast<uint8_t>(c) >> 4) & 15];
      out += kHexDigits[static_cast<uint8_t>(c) & 15];
  }
}

template <typename T>
void AppendNumber(std::string& out, T value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  out.append(digits, end);
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  for (;;) {
    const size_t plain = PlainPrefix(text);
    out.append(text, 0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const size_t length = Utf8SequenceLength(text);
    if (length > 1) {
      out.append(text, 0, length);
    } else if (length == 1) {
      AppendEscaped(out, text[0]);
    } else {
      out += "\xEF\xBF\xBD";  // U+FFFD
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

void AppendJsonUint(std::string& out, uint64_t value) { AppendNumber(out, value); }
void AppendJsonInt(std::string& out, int64_t value) { AppendNumber(out, value); }

void AppendJsonHex(std::string& out, uint64_t value) {
  char text[2 + 2 + 16 + 1] = {'"', '0', 'x'};
  char* end = std::to_chars(text + 3, text + sizeof(text), value, 16).ptr;
  *end++ = '"';
  out.append(text, end);
}

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = Utf8SequenceLength(text.substr(at));
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string ToHex(std::string_view bytes) {
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (const char c : bytes) {
    hex += kHexDigits[(static_cast<uint8_t>(c) >> 4) & 15];
    hex += kHexDigits[static_cast<uint8_t>(c) & 15];
  }
  return hex;
}

bool FromHex(std::string_view hex, std::string& bytes) {
  if (hex.size() % 2 != 0) return false;
  bytes.clear();
  for (size_t i = 0; i < hex.size(); i += 2) {
    uint8_t value = 0;
    const char* end = hex.data() + i + 2;
    if (std::from_chars(hex.data() + i, end, value, 16).ptr != end) return false;
    bytes += static_cast<char>(value);
  }
  return true;
}

std::string& JsonObject::Key(std::string_view name) {
  if (!first_) out_ += ',';
  first_ = false;
  AppendJsonString(out_, name);
  out_ += ':';
  return out_;
}

JsonObject& JsonObject::String(std::string_view name, std::string_view value) {
  AppendJsonString(Key(name), value);
  return *this;
}

JsonObject& JsonObject::Uint(std::string_view name, uint64_t value) {
  AppendJsonUint(Key(name), value);
  return *this;
}

JsonObject& JsonObject::Int(std::string_view name, int64_t value) {
  AppendJsonInt(Key(name), value);
  return *this;
}

JsonObject& JsonObject::Hex(std::string_view name, uint64_t value) {
  AppendJsonHex(Key(name), value);
  return *this;
}

JsonObject& JsonObject::Null(std::string_view name) {
  Key(name) += "null";
  return *this;
}

JsonObject& JsonObject::Raw(std::string_view name, std::string_view json) {
  Key(name) += json;
  return *this;
}

}  // namespace watchsnap
