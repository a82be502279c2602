// Appending JSON to a string: the pieces that report_json and other renderers are made of.
//
// Threads: free functions on the caller's string. Nothing fails: bytes that are not UTF-8 become
// U+FFFD each, so that the text is always valid JSON.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_JSON_TEXT_H_
#define WATCHSNAP_SNAPSHOT_REPORT_JSON_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace watchsnap {

// "text" with its quotes, escaped.
void AppendJsonString(std::string& out, std::string_view text);

// A JSON integer.
void AppendJsonUint(std::string& out, uint64_t value);
void AppendJsonInt(std::string& out, int64_t value);

// "0x1f" with its quotes: how addresses and registers stand in a report.
void AppendJsonHex(std::string& out, uint64_t value);

// True if all of `text` is well-formed UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong
// forms).
bool IsUtf8(std::string_view text);

// `bytes` as lower-case hexadecimal digits and back; false if `hex` is not such a text.
std::string ToHex(std::string_view bytes);
bool FromHex(std::string_view hex, std::string& bytes);

// One JSON object, member by member: keeps track of the commas.
//
//   JsonObject object(out);
//   object.String("what", text).Uint("line", 12);
//   object.Close();
class JsonObject {
 public:
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }

  JsonObject& String(std::string_view name, std::string_view value);
  JsonObject& Uint(std::string_view name, uint64_t value);
  JsonObject& Int(std::string_view name, int64_t value);
  JsonObject& Hex(std::string_view name, uint64_t value);
  JsonObject& Null(std::string_view name);
  JsonObject& Raw(std::string_view name, std::string_view json);  // one JSON value
  // Writes the name; the caller appends the value itself.
  std::string& Key(std::string_view name);
  void Close() { out_ += '}'; }

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_JSON_TEXT_H_
