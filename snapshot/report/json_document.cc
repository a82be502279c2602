#include "snapshot/report/json_document.h"

#include <bit>
#include <type_traits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "simdjson.h"

namespace watchsnap {

using simdjson::dom::element;
using simdjson::dom::element_type;

static_assert(sizeof(element) == sizeof(std::array<uint64_t, 2>));
static_assert(std::is_trivially_copyable_v<element>);
static_assert(JsonParser::kPadding >= simdjson::SIMDJSON_PADDING);

struct JsonNodeAccess {
  static element Get(const JsonNode& node) { return std::bit_cast<element>(node.place_); }
  static JsonNode Make(element at) {
    JsonNode node;
    node.place_ = std::bit_cast<std::array<uint64_t, 2>>(at);
    return node;
  }
};

namespace {

constexpr size_t kShownBytes = 60;

template <typename T>
std::optional<T> Read(simdjson::simdjson_result<T> result) {
  T value;
  if (std::move(result).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

std::optional<JsonNode> Found(simdjson::simdjson_result<element> result) {
  element found;
  if (std::move(result).get(found) != simdjson::SUCCESS) return std::nullopt;
  return JsonNodeAccess::Make(found);
}

absl::Status Malformed(std::string_view text, simdjson::error_code error) {
  return absl::InvalidArgumentError(
      absl::StrCat("not well-formed JSON: ", simdjson::error_message(error), "; it begins: ",
                   absl::CHexEscape(text.substr(0, kShownBytes))));
}

}  // namespace

std::string_view JsonKindText(JsonKind kind) {
  switch (kind) {
    case JsonKind::kNull: return "null";
    case JsonKind::kBool: return "true or false";
    case JsonKind::kInteger: return "an integer";
    case JsonKind::kDouble: return "a number with a fraction";
    case JsonKind::kString: return "a string";
    case JsonKind::kArray: return "an array";
    case JsonKind::kObject: return "an object";
  }
  return "?";
}

JsonKind JsonNode::kind() const {
  switch (JsonNodeAccess::Get(*this).type()) {
    case element_type::ARRAY: return JsonKind::kArray;
    case element_type::OBJECT: return JsonKind::kObject;
    case element_type::INT64:
    case element_type::UINT64: return JsonKind::kInteger;
    case element_type::DOUBLE: return JsonKind::kDouble;
    case element_type::STRING: return JsonKind::kString;
    case element_type::BOOL: return JsonKind::kBool;
    case element_type::NULL_VALUE: return JsonKind::kNull;
  }
  return JsonKind::kNull;
}

std::optional<bool> JsonNode::Bool() const { return Read(JsonNodeAccess::Get(*this).get_bool()); }

std::optional<uint64_t> JsonNode::Uint() const {
  return Read(JsonNodeAccess::Get(*this).get_uint64());
}

std::optional<int64_t> JsonNode::Int() const {
  return Read(JsonNodeAccess::Get(*this).get_int64());
}

std::optional<double> JsonNode::Double() const {
  return Read(JsonNodeAccess::Get(*this).get_double());
}

std::optional<std::string_view> JsonNode::String() const {
  return Read(JsonNodeAccess::Get(*this).get_string());
}

std::optional<JsonNode> JsonNode::Member(std::string_view name) const {
  simdjson::dom::object object;
  if (JsonNodeAccess::Get(*this).get(object) != simdjson::SUCCESS) return std::nullopt;
  return Found(object.at_key(name));
}

std::optional<JsonNode> JsonNode::Item(size_t index) const {
  simdjson::dom::array array;
  if (JsonNodeAccess::Get(*this).get(array) != simdjson::SUCCESS) return std::nullopt;
  return Found(array.at(index));
}

size_t JsonNode::size() const {
  const element at = JsonNodeAccess::Get(*this);
  if (simdjson::dom::array array; at.get(array) == simdjson::SUCCESS) return array.size();
  if (simdjson::dom::object object; at.get(object) == simdjson::SUCCESS) return object.size();
  return 0;
}

void JsonNode::ForEachMember(
    absl::FunctionRef<bool(std::string_view name, JsonNode value)> visit) const {
  simdjson::dom::object object;
  if (JsonNodeAccess::Get(*this).get(object) != simdjson::SUCCESS) return;
  for (const auto& [name, value] : object) {
    if (!visit(name, JsonNodeAccess::Make(value))) return;
  }
}

void JsonNode::ForEachItem(absl::FunctionRef<bool(JsonNode value)> visit) const {
  simdjson::dom::array array;
  if (JsonNodeAccess::Get(*this).get(array) != simdjson::SUCCESS) return;
  for (const element value : array) {
    if (!visit(JsonNodeAccess::Make(value))) return;
  }
}

std::string JsonNode::ToJson() const { return simdjson::minify(JsonNodeAccess::Get(*this)); }

struct JsonDocument::Tape {
  simdjson::dom::document document;
};

// The memory of the document that went last, for the next: reading capture after capture then stays
// in warm memory.
struct JsonDocument::Spare {
  std::unique_ptr<Tape> Take() {
    absl::MutexLock lock(&mutex);
    return tape != nullptr ? std::move(tape) : std::make_unique<Tape>();
  }
  void Put(std::unique_ptr<Tape> used) {
    absl::MutexLock lock(&mutex);
    if (tape == nullptr) tape = std::move(used);
  }
  absl::Mutex mutex;
  std::unique_ptr<Tape> tape ABSL_GUARDED_BY(mutex);
};

JsonDocument::JsonDocument(std::shared_ptr<Spare> spare)
    : spare_(std::move(spare)), tape_(spare_->Take()) {}
JsonDocument::~JsonDocument() { spare_->Put(std::move(tape_)); }

JsonNode JsonDocument::root() const { return JsonNodeAccess::Make(tape_->document.root()); }

struct JsonParser::State {
  simdjson::dom::parser parser;
  std::string padded;
  const std::shared_ptr<JsonDocument::Spare> spare = std::make_shared<JsonDocument::Spare>();
};

JsonParser::JsonParser() : state_(std::make_unique<State>()) {}
JsonParser::~JsonParser() = default;

absl::StatusOr<std::shared_ptr<const JsonDocument>> JsonParser::Parse(std::string_view text) {
  state_->padded.assign(text);
  state_->padded.append(kPadding, '\0');
  return ParsePadded(std::string_view(state_->padded).substr(0, text.size()));
}

absl::StatusOr<std::shared_ptr<const JsonDocument>> JsonParser::ParsePadded(
    std::string_view text) {
  std::shared_ptr<JsonDocument> document(new JsonDocument(state_->spare));
  const auto error = state_->parser
                         .parse_into_document(document->tape_->document, text.data(), text.size(),
                                              /*realloc_if_needed=*/false)
                         .error();
  if (error != simdjson::SUCCESS) return Malformed(text, error);
  return document;
}

absl::StatusOr<JsonNode> JsonParser::ParsePaddedHere(std::string_view text) {
  element root;
  const auto error = state_->parser.parse(text.data(), text.size(), false).get(root);
  if (error != simdjson::SUCCESS) return Malformed(text, error);
  return JsonNodeAccess::Make(root);
}

}  // namespace watchsnap
