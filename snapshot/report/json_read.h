// Typed reads from a simdjson on-demand value, with errors that name the place. Private to
// report_parse.cc.
//
// `where` is the path of the value, for messages: "trigger.slot".
#ifndef WATCHSNAP_SNAPSHOT_REPORT_JSON_READ_H_
#define WATCHSNAP_SNAPSHOT_REPORT_JSON_READ_H_

#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "simdjson.h"

namespace watchsnap::json_read {

using Value = simdjson::ondemand::value;

inline absl::Status Wrong(std::string_view where, std::string_view expected, Value& value) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": expected ", expected, ", found ",
                                                 value.raw_json_token().substr(0, 60)));
}

inline absl::Status Malformed(std::string_view where, simdjson::error_code error) {
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": not well-formed JSON: ", simdjson::error_message(error)));
}

inline absl::Status Read(std::string_view where, Value& value, uint64_t& to) {
  if (value.get_uint64().get(to) == simdjson::SUCCESS) return absl::OkStatus();
  return Wrong(where, "an integer that is not negative", value);
}

template <typename Integer>
requires(std::is_integral_v<Integer> && !std::is_same_v<Integer, uint64_t>) absl::Status
    Read(std::string_view where, Value& value, Integer& to) {
  int64_t wide = 0;
  if (value.get_int64().get(wide) != simdjson::SUCCESS ||
      wide < static_cast<int64_t>(std::numeric_limits<Integer>::min()) ||
      wide > static_cast<int64_t>(std::numeric_limits<Integer>::max())) {
    return Wrong(where, "an integer in range", value);
  }
  to = static_cast<Integer>(wide);
  return absl::OkStatus();
}

inline absl::Status Read(std::string_view where, Value& value, std::string& to) {
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS) return Wrong(where, "a string", value);
  to = text;
  return absl::OkStatus();
}

// null leaves `to` empty.
template <typename T>
absl::Status Read(std::string_view where, Value& value, std::optional<T>& to) {
  bool null = false;
  if (value.is_null().get(null) == simdjson::SUCCESS && null) {
    to.reset();
    return absl::OkStatus();
  }
  return Read(where, value, to.emplace());
}

// "0x…".
inline absl::Status ReadHex(std::string_view where, Value& value, uint64_t& to) {
  std::string_view text;
  if (value.get_string().get(text) == simdjson::SUCCESS && text.starts_with("0x") &&
      text.size() > 2) {
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data() + 2, end, to, 16);
    if (stopped == end && error == std::errc()) return absl::OkStatus();
  }
  return Wrong(where, "a \"0x…\" string of 64 bits", value);
}

// The JSON text of the value, whatever it is.
inline absl::Status ReadRaw(std::string_view where, Value& value, std::string& to) {
  simdjson::ondemand::json_type type;
  if (auto error = value.type().get(type)) return Malformed(where, error);
  std::string_view text;
  simdjson::error_code error = simdjson::SUCCESS;
  if (type == simdjson::ondemand::json_type::object) {
    simdjson::ondemand::object object;
    error = value.get_object().get(object);
    if (!error) error = object.raw_json().get(text);
  } else if (type == simdjson::ondemand::json_type::array) {
    simdjson::ondemand::array array;
    error = value.get_array().get(array);
    if (!error) error = array.raw_json().get(text);
  } else {
    text = value.raw_json_token();
  }
  if (error) return Malformed(where, error);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  to = text;
  return absl::OkStatus();
}

// Calls field(name, value) -> absl::Status for each member, in order; stops at the first error.
template <typename Field>
absl::Status ForEachMember(std::string_view where, simdjson::ondemand::object object, Field field) {
  for (auto member : object) {
    std::string_view name;
    if (auto error = member.unescaped_key().get(name)) return Malformed(where, error);
    Value value;
    if (auto error = member.value().get(value)) return Malformed(where, error);
    if (absl::Status status = field(name, value); !status.ok()) return status;
  }
  return absl::OkStatus();
}

template <typename Field>
absl::Status ForEachMember(std::string_view where, Value& value, Field field) {
  simdjson::ondemand::object object;
  if (value.get_object().get(object) != simdjson::SUCCESS) return Wrong(where, "an object", value);
  return ForEachMember(where, object, field);
}

// Calls item(value) -> absl::Status for each element.
template <typename Item>
absl::Status ForEachItem(std::string_view where, Value& value, Item item) {
  simdjson::ondemand::array array;
  if (value.get_array().get(array) != simdjson::SUCCESS) return Wrong(where, "an array", value);
  for (auto element : array) {
    Value inner;
    if (auto error = element.get(inner)) return Malformed(where, error);
    if (absl::Status status = item(inner); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace watchsnap::json_read

#endif  // WATCHSNAP_SNAPSHOT_REPORT_JSON_READ_H_
