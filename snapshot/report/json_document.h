// Parsed JSON to walk about in: the ground that the accessor, `inspect`, `diff` and the schema check
// stand on. simdjson's DOM behind a small door, so that its header stays out of every test.
//
//   JsonParser parser;                                        // reusable, keeps its buffers
//   auto document = parser.Parse(R"({"a":[1,2]})");           // StatusOr<shared_ptr<const JsonDocument>>
//   (*document)->root().Member("a")->Item(1)->Uint()          // 2
//
// Ownership: a JsonNode is two words that point into its document, and is valid as long as that is;
// so are the texts it returns.
// Threads: documents are immutable: any thread. A parser is for one thread at a time.
// Errors: INVALID_ARGUMENT for what is not one JSON document, with what stood there. Depth is bounded
// (1024), as is everything by the length of the text.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_JSON_DOCUMENT_H_
#define WATCHSNAP_SNAPSHOT_REPORT_JSON_DOCUMENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace watchsnap {

enum class JsonKind { kNull, kBool, kInteger, kDouble, kString, kArray, kObject };

// "an object", "a string", …: for messages.
std::string_view JsonKindText(JsonKind kind);

class JsonNode {
 public:
  JsonKind kind() const;
  bool is_null() const { return kind() == JsonKind::kNull; }
  bool is_object() const { return kind() == JsonKind::kObject; }
  bool is_array() const { return kind() == JsonKind::kArray; }

  // Nullopt where the node is of another kind or, of integers, does not fit.
  std::optional<bool> Bool() const;
  std::optional<uint64_t> Uint() const;
  std::optional<int64_t> Int() const;
  std::optional<double> Double() const;  // integers too
  std::optional<std::string_view> String() const;

  // Of an object. Linear in its members.
  std::optional<JsonNode> Member(std::string_view name) const;
  // Of an array. Linear in `index`.
  std::optional<JsonNode> Item(size_t index) const;
  // Members or items; 0 for scalars.
  size_t size() const;
  // In order, until `visit` returns false. Nothing is visited of another kind.
  void ForEachMember(absl::FunctionRef<bool(std::string_view name, JsonNode value)> visit) const;
  void ForEachItem(absl::FunctionRef<bool(JsonNode value)> visit) const;

  // As JSON text without white space.
  std::string ToJson() const;

 private:
  friend struct JsonNodeAccess;
  std::array<uint64_t, 2> place_;  // a simdjson::dom::element
};

class JsonDocument {
 public:
  ~JsonDocument();
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  JsonNode root() const;

 private:
  friend class JsonParser;
  struct Tape;
  struct Spare;
  explicit JsonDocument(std::shared_ptr<Spare> spare);
  const std::shared_ptr<Spare> spare_;
  std::unique_ptr<Tape> tape_;
};

class JsonParser {
 public:
  // How many readable bytes must stand behind a "padded" text (they are never used).
  static constexpr size_t kPadding = 64;

  JsonParser();
  ~JsonParser();
  JsonParser(const JsonParser&) = delete;
  JsonParser& operator=(const JsonParser&) = delete;

  absl::StatusOr<std::shared_ptr<const JsonDocument>> Parse(std::string_view text);
  // The same without a copy.
  absl::StatusOr<std::shared_ptr<const JsonDocument>> ParsePadded(std::string_view text);
  // Into memory of the parser: the node is valid until the next call on it.
  absl::StatusOr<JsonNode> ParsePaddedHere(std::string_view text);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_JSON_DOCUMENT_H_
