#include "snapshot/accessor/snapshot_value.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "snapshot/accessor/path.h"
#include "snapshot/accessor/snapshot_source.h"

namespace watchsnap {
namespace {

std::optional<uint64_t> PointerValue(JsonNode node) {
  if (!IsPointer(node)) return std::nullopt;
  const std::string_view text = *node.String();
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data() + 2, end, value, 16);
  if (stopped != end || error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace

SnapshotValue::SnapshotValue(absl::Status error) : status_(std::move(error)) {}

SnapshotValue::SnapshotValue(std::shared_ptr<const SnapshotSource> source, Place place,
                             PerCpu per_cpu)
    : source_(std::move(source)),
      node_(place.node),
      asked_(std::move(place.asked)),
      home_(std::move(place.home)),
      per_cpu_(per_cpu) {}

SnapshotValue SnapshotValue::Get(std::string_view path) const {
  if (!ok()) return *this;
  absl::StatusOr<Path> steps = ParsePath(path);
  if (!steps.ok()) return SnapshotValue(steps.status());
  if (steps->empty()) return *this;
  if (absl::Status status = Narrowed(); !status.ok()) return SnapshotValue(std::move(status));
  absl::StatusOr<Place> place = source_->Walk({*node_, asked_, home_}, *steps);
  if (!place.ok()) return SnapshotValue(place.status());
  SnapshotValue found(source_, *std::move(place));
  found.captured_ = captured_;
  return found;
}

SnapshotValue SnapshotValue::Cpu(uint64_t cpu) const {
  if (!ok()) return *this;
  if (per_cpu_ == PerCpu::kNo) {
    return SnapshotValue(Error(absl::StatusCode::kInvalidArgument,
                               absl::StrCat("Cpu(", cpu, "): ", asked_,
                                            " is not per-CPU; read it without")));
  }
  Path steps = {cpu};
  if (per_cpu_ == PerCpu::kObjectsWithValue) steps.emplace_back(std::string("value"));
  absl::StatusOr<Place> place = source_->Walk({*node_, asked_, home_}, steps);
  if (!place.ok()) return SnapshotValue(place.status());
  SnapshotValue found(source_, *std::move(place));
  found.captured_ = captured_;
  return found;
}

SnapshotValue SnapshotValue::Captured() const {
  SnapshotValue result = *this;
  result.captured_ = true;
  return result;
}

absl::StatusOr<uint64_t> SnapshotValue::AsU64() const {
  if (absl::Status status = Readable(); !status.ok()) return status;
  if (const auto value = node_->Uint(); value.has_value()) return *value;
  if (const auto value = node_->Bool(); value.has_value()) return *value ? 1 : 0;
  if (const auto value = PointerValue(*node_); value.has_value()) return *value;
  if (node_->kind() == JsonKind::kInteger) {
    return Error(absl::StatusCode::kOutOfRange,
                 absl::StrCat(asked_, " is ", Shown(*node_), ", which AsU64 cannot hold; AsI64 can"));
  }
  return WrongType("AsU64 wants an integer or a pointer");
}

absl::StatusOr<int64_t> SnapshotValue::AsI64() const {
  if (absl::Status status = Readable(); !status.ok()) return status;
  if (const auto value = node_->Int(); value.has_value()) return *value;
  if (const auto value = node_->Bool(); value.has_value()) return *value ? 1 : 0;
  if (node_->kind() == JsonKind::kInteger) {
    return Error(absl::StatusCode::kOutOfRange,
                 absl::StrCat(asked_, " is ", Shown(*node_), ", which AsI64 cannot hold; AsU64 can"));
  }
  return WrongType("AsI64 wants an integer");
}

absl::StatusOr<bool> SnapshotValue::AsBool() const {
  if (absl::Status status = Readable(); !status.ok()) return status;
  if (const auto value = node_->Bool(); value.has_value()) return *value;
  if (const auto value = node_->Uint(); value.has_value() && *value <= 1) return *value == 1;
  return WrongType("AsBool wants true, false, 0 or 1");
}

absl::StatusOr<double> SnapshotValue::AsF64() const {
  if (absl::Status status = Readable(); !status.ok()) return status;
  if (const auto value = node_->Double(); value.has_value()) return *value;
  if (const auto value = node_->Bool(); value.has_value()) return *value ? 1.0 : 0.0;
  const auto text = node_->String();
  if (text == "NaN") return std::nan("");
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  return WrongType("AsF64 wants a number");
}

absl::StatusOr<std::string> SnapshotValue::AsStr() const {
  if (absl::Status status = Readable(); !status.ok()) return status;
  const auto text = node_->String();
  if (!text.has_value()) return WrongType("AsStr wants a text or an enumerator's name");
  if (!captured_) {
    if (const auto why = source_->WhyDegradedExactly(home_); why.has_value()) {
      return Error(absl::StatusCode::kDataLoss,
                   absl::StrCat(asked_, " is ", Shown(*node_), " only in part: ", *why,
                                "; Captured() reads the part"));
    }
  }
  return std::string(*text);
}

absl::StatusOr<bool> SnapshotValue::Is(std::string_view expected) const {
  absl::StatusOr<std::string> text = AsStr();
  if (!text.ok()) return text.status();
  return *text == expected;
}

absl::StatusOr<bool> SnapshotValue::Is(bool expected) const {
  absl::StatusOr<bool> value = AsBool();
  if (!value.ok()) return value.status();
  return *value == expected;
}

absl::StatusOr<bool> SnapshotValue::IsInt(int64_t expected) const {
  if (expected >= 0) return IsUint(static_cast<uint64_t>(expected));
  if (absl::Status status = Readable(); !status.ok()) return status;
  if (node_->kind() != JsonKind::kInteger) return AsI64().status();
  return node_->Int() == expected;
}

absl::StatusOr<bool> SnapshotValue::IsUint(uint64_t expected) const {
  if (absl::Status status = Readable(); !status.ok()) return status;
  // A negative number is no error here, and not equal.
  if (node_->kind() == JsonKind::kInteger) return node_->Uint() == expected;
  absl::StatusOr<uint64_t> value = AsU64();
  if (!value.ok()) return value.status();
  return *value == expected;
}

absl::StatusOr<std::vector<SnapshotValue>> SnapshotValue::Items() const {
  if (absl::Status status = Readable(); !status.ok()) return status;
  if (!node_->is_array()) return WrongType("Items wants an array");
  if (!captured_) {
    if (const auto why = source_->WhyDegradedExactly(home_); why.has_value()) {
      return Error(absl::StatusCode::kDataLoss,
                   absl::StrCat(asked_, " is ", Shown(*node_), ", not all of it: ", *why,
                                "; Captured() reads those"));
    }
  }
  std::vector<SnapshotValue> items;
  node_->ForEachItem([&](JsonNode item) {
    const uint64_t index = items.size();
    items.push_back(SnapshotValue(
        source_, Place{item, ElementPath(asked_, index), ElementPath(home_, index)}));
    return true;
  });
  return items;
}

absl::StatusOr<std::vector<std::string>> SnapshotValue::MemberNames() const {
  if (absl::Status status = Readable(); !status.ok()) return status;
  if (!node_->is_object()) return WrongType("MemberNames wants an object");
  return watchsnap::MemberNames(*node_);
}

absl::StatusOr<std::string> SnapshotValue::ToJson() const {
  if (!ok()) return status_;
  return node_->ToJson();
}

absl::Status SnapshotValue::Readable() const {
  if (absl::Status status = Narrowed(); !status.ok()) return status;
  if (!node_->is_null()) return absl::OkStatus();
  return Error(absl::StatusCode::kNotFound, absl::StrCat(asked_, " is null: there is no value"));
}

absl::Status SnapshotValue::Narrowed() const {
  if (!ok()) return status_;
  if (per_cpu_ == PerCpu::kNo) return absl::OkStatus();
  const size_t cpus = node_->size();
  return Error(absl::StatusCode::kFailedPrecondition,
               absl::StrCat(asked_, " is per-CPU: choose one of its ", cpus, " by Cpu(0)",
                            cpus > 1 ? absl::StrCat(" to Cpu(", cpus - 1, ")") : ""));
}

absl::Status SnapshotValue::WrongType(std::string_view wanted) const {
  std::string text = absl::StrCat(asked_.empty() ? "the capture" : asked_, " is ", Shown(*node_));
  if (!node_->is_object() && !node_->is_array()) {
    absl::StrAppend(&text, ", ", JsonKindText(node_->kind()));
  }
  absl::StrAppend(&text, "; ", wanted);
  switch (node_->kind()) {
    case JsonKind::kString: absl::StrAppend(&text, "; read it by AsStr"); break;
    case JsonKind::kBool: absl::StrAppend(&text, "; read it by AsBool"); break;
    case JsonKind::kInteger: absl::StrAppend(&text, "; read it by AsU64 or AsI64"); break;
    case JsonKind::kDouble: absl::StrAppend(&text, "; read it by AsF64"); break;
    case JsonKind::kObject: {
      std::string names;
      for (const std::string& name : watchsnap::MemberNames(*node_)) {
        if (names.size() > 300) {
          names += ", …";
          break;
        }
        absl::StrAppend(&names, names.empty() ? "" : ", ", name);
      }
      absl::StrAppend(&text, "; take a member by Get: ", names);
      break;
    }
    case JsonKind::kArray: absl::StrAppend(&text, "; take an element by Get(\"[0]\")"); break;
    case JsonKind::kNull: break;
  }
  return Error(absl::StatusCode::kInvalidArgument, text);
}

absl::Status SnapshotValue::Error(absl::StatusCode code, std::string_view text) const {
  // A wrong question stays one, whatever else the capture lacks.
  if (code == absl::StatusCode::kNotFound) return source_->Error(code, text, home_, false);
  return source_->Labelled(code, text);
}

}  // namespace watchsnap
