#include "snapshot/wire/fields.h"

#include "absl/strings/str_cat.h"
#include "snapshot/wire/byte_order.h"

namespace watchsnap {
namespace {

template <std::unsigned_integral T>
std::string_view Store(T value, char (&bytes)[sizeof(T)]) {
  StoreLittleEndian<T>(value, reinterpret_cast<uint8_t*>(bytes));
  return std::string_view(bytes, sizeof(T));
}

}  // namespace

FieldWriter& FieldWriter::U8(FieldTag tag, uint8_t value) {
  char bytes[1];
  return Bytes(tag, Store(value, bytes));
}

FieldWriter& FieldWriter::U32(FieldTag tag, uint32_t value) {
  char bytes[4];
  return Bytes(tag, Store(value, bytes));
}

FieldWriter& FieldWriter::U64(FieldTag tag, uint64_t value) {
  char bytes[8];
  return Bytes(tag, Store(value, bytes));
}

FieldWriter& FieldWriter::Bytes(FieldTag tag, std::string_view value) {
  char tag_bytes[2];
  char length_bytes[4];
  payload_ += Store(static_cast<uint16_t>(tag), tag_bytes);
  payload_ += Store(static_cast<uint32_t>(value.size()), length_bytes);
  payload_ += value;
  return *this;
}

bool FieldReader::Next() {
  if (rest_.empty() || !status_.ok()) return false;
  if (rest_.size() < kFieldHeaderBytes) {
    status_ = absl::InvalidArgumentError(absl::StrCat("bad field: ", rest_.size(),
                                                      " bytes are left, a field's header needs ",
                                                      kFieldHeaderBytes));
    return false;
  }
  tag_ = LoadLittleEndian<uint16_t>(rest_.data());
  const uint32_t length = LoadLittleEndian<uint32_t>(rest_.data() + 2);
  rest_.remove_prefix(kFieldHeaderBytes);
  if (length > rest_.size()) {
    status_ = absl::InvalidArgumentError(absl::StrCat("bad field: ", FieldName(tag_),
                                                      " says it has ", length, " bytes, ",
                                                      rest_.size(), " are left in the payload"));
    return false;
  }
  value_ = rest_.subspan(0, length);
  rest_.remove_prefix(length);
  return true;
}

template <typename T>
absl::StatusOr<T> FieldReader::Integer() const {
  if (value_.size() != sizeof(T)) {
    return absl::InvalidArgumentError(absl::StrCat("bad field: ", FieldName(tag_), " must have ",
                                                   sizeof(T), " bytes, it has ", value_.size()));
  }
  return LoadLittleEndian<T>(value_.data());
}

absl::StatusOr<uint8_t> FieldReader::U8() const { return Integer<uint8_t>(); }
absl::StatusOr<uint32_t> FieldReader::U32() const { return Integer<uint32_t>(); }
absl::StatusOr<uint64_t> FieldReader::U64() const { return Integer<uint64_t>(); }

absl::StatusOr<bool> FieldReader::Bool() const {
  const absl::StatusOr<uint8_t> value = U8();
  if (!value.ok()) return value.status();
  if (*value > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("bad field: ", FieldName(tag_), " must be 0 or 1, it is ", *value));
  }
  return *value == 1;
}

std::string_view FieldReader::Bytes() const {
  return std::string_view(reinterpret_cast<const char*>(value_.data()), value_.size());
}

std::string FieldName(uint16_t tag) {
  switch (static_cast<FieldTag>(tag)) {
    case FieldTag::kProtocolVersion: return "protocol_version";
    case FieldTag::kScenario: return "scenario";
    case FieldTag::kGuestTsc: return "guest_tsc";
    case FieldTag::kGuestMonotonicNs: return "guest_monotonic_ns";
    case FieldTag::kHoldMs: return "hold_ms";
    case FieldTag::kParameterKey: return "parameter_key";
    case FieldTag::kParameterValue: return "parameter_value";
    case FieldTag::kRequestKind: return "request_kind";
    case FieldTag::kSubject: return "subject";
    case FieldTag::kMaxCaptures: return "max_captures";
    case FieldTag::kMaxFrozenPermille: return "max_frozen_permille";
    case FieldTag::kConditionKind: return "condition_kind";
    case FieldTag::kConditionFirst: return "condition_first";
    case FieldTag::kConditionSecond: return "condition_second";
    case FieldTag::kEveryNth: return "every_nth";
    case FieldTag::kMinIntervalUs: return "min_interval_us";
    case FieldTag::kOnBudget: return "on_budget";
    case FieldTag::kQueueFull: return "queue_full";
    case FieldTag::kOk: return "ok";
    case FieldTag::kReason: return "reason";
    case FieldTag::kStatusCode: return "status_code";
    case FieldTag::kPassed: return "passed";
    case FieldTag::kDetail: return "detail";
    case FieldTag::kExitReason: return "exit_reason";
    case FieldTag::kText: return "text";
    case FieldTag::kWorker: return "worker";
    case FieldTag::kWorkerGroup: return "worker_group";
    case FieldTag::kWorkerKind: return "worker_kind";
    case FieldTag::kWorkerIndex: return "worker_index";
    case FieldTag::kIterations: return "iterations";
    case FieldTag::kWakeups: return "wakeups";
    case FieldTag::kLatencySumNs: return "latency_sum_ns";
    case FieldTag::kLatencyMaxNs: return "latency_max_ns";
    case FieldTag::kMigrations: return "migrations";
    case FieldTag::kLongestGapNs: return "longest_gap_ns";
    case FieldTag::kVariable: return "variable";
  }
  return absl::StrCat("field ", tag);
}

}  // namespace watchsnap
