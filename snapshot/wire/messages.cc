#include "snapshot/wire/messages.h"

#include "absl/strings/str_cat.h"
#include "snapshot/wire/fields.h"
#include "snapshot/wire/frame.h"

namespace watchsnap {
namespace {

void EncodeWorker(FieldWriter& out, const WorkerReport& worker) {
  FieldWriter fields;
  fields.Bytes(FieldTag::kWorkerGroup, worker.cgroup)
      .Bytes(FieldTag::kWorkerKind, worker.work)
      .U32(FieldTag::kWorkerIndex, worker.index)
      .U64(FieldTag::kIterations, worker.iterations)
      .U64(FieldTag::kWakeups, worker.wakeups)
      .U64(FieldTag::kLatencySumNs, worker.latency_sum_ns)
      .U64(FieldTag::kLatencyMaxNs, worker.latency_max_ns)
      .U64(FieldTag::kMigrations, worker.migrations)
      .U64(FieldTag::kLongestGapNs, worker.longest_gap_ns);
  const absl::Span<const uint8_t> payload = fields.payload();
  out.Bytes(FieldTag::kWorker,
            {reinterpret_cast<const char*>(payload.data()), payload.size()});
}

// What a worker does not say is 0; a field of a newer peer is passed over.
absl::StatusOr<WorkerReport> DecodeWorker(std::string_view bytes) {
  WorkerReport worker;
  FieldReader reader(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  while (reader.Next()) {
    uint64_t* number = nullptr;
    switch (static_cast<FieldTag>(reader.tag())) {
      case FieldTag::kWorkerGroup: worker.cgroup = reader.Bytes(); continue;
      case FieldTag::kWorkerKind: worker.work = reader.Bytes(); continue;
      case FieldTag::kWorkerIndex: {
        absl::StatusOr<uint32_t> index = reader.U32();
        if (!index.ok()) return index.status();
        worker.index = *index;
        continue;
      }
      case FieldTag::kIterations: number = &worker.iterations; break;
      case FieldTag::kWakeups: number = &worker.wakeups; break;
      case FieldTag::kLatencySumNs: number = &worker.latency_sum_ns; break;
      case FieldTag::kLatencyMaxNs: number = &worker.latency_max_ns; break;
      case FieldTag::kMigrations: number = &worker.migrations; break;
      case FieldTag::kLongestGapNs: number = &worker.longest_gap_ns; break;
      default: continue;
    }
    absl::StatusOr<uint64_t> value = reader.U64();
    if (!value.ok()) return value.status();
    *number = *value;
  }
  if (!reader.status().ok()) return reader.status();
  return worker;
}

struct Encoder {
  FieldWriter& out;

  MessageType operator()(const Hello& m) const {
    out.U32(FieldTag::kProtocolVersion, m.protocol_version)
        .Bytes(FieldTag::kScenario, m.scenario)
        .U64(FieldTag::kGuestTsc, m.guest_tsc)
        .U64(FieldTag::kGuestMonotonicNs, m.guest_monotonic_ns);
    return MessageType::kHello;
  }
  MessageType operator()(const HelloReply& m) const {
    out.U64(FieldTag::kHoldMs, m.hold_ms);
    for (const auto& [key, value] : m.parameters) {
      out.Bytes(FieldTag::kParameterKey, key).Bytes(FieldTag::kParameterValue, value);
    }
    return MessageType::kHelloReply;
  }
  MessageType operator()(const SnapshotRequest& m) const {
    out.U8(FieldTag::kRequestKind, static_cast<uint8_t>(m.kind))
        .Bytes(FieldTag::kSubject, m.subject);
    if (m.options.max_captures) out.U64(FieldTag::kMaxCaptures, *m.options.max_captures);
    if (m.options.max_frozen_permille) {
      out.U32(FieldTag::kMaxFrozenPermille, *m.options.max_frozen_permille);
    }
    if (m.options.when) {
      out.U8(FieldTag::kConditionKind, static_cast<uint8_t>(m.options.when->kind))
          .U64(FieldTag::kConditionFirst, m.options.when->first)
          .U64(FieldTag::kConditionSecond, m.options.when->second);
    }
    if (m.options.every_nth) out.U64(FieldTag::kEveryNth, *m.options.every_nth);
    if (m.options.min_interval_us) out.U64(FieldTag::kMinIntervalUs, *m.options.min_interval_us);
    if (m.options.on_budget) {
      out.U8(FieldTag::kOnBudget, static_cast<uint8_t>(*m.options.on_budget));
    }
    if (m.options.queue_full) {
      out.U8(FieldTag::kQueueFull, static_cast<uint8_t>(*m.options.queue_full));
    }
    for (const std::string& name : m.options.variables) out.Bytes(FieldTag::kVariable, name);
    return MessageType::kSnapshotRequest;
  }
  MessageType operator()(const SnapshotReply& m) const {
    out.U8(FieldTag::kOk, m.ok ? 1 : 0);
    if (!m.ok) {
      out.U32(FieldTag::kStatusCode, static_cast<uint32_t>(m.code))
          .Bytes(FieldTag::kReason, m.reason);
    }
    return MessageType::kSnapshotReply;
  }
  MessageType operator()(const ScenarioResult& m) const {
    out.U8(FieldTag::kPassed, m.passed ? 1 : 0).Bytes(FieldTag::kExitReason, m.exit_reason);
    for (const std::string& detail : m.details) out.Bytes(FieldTag::kDetail, detail);
    for (const WorkerReport& worker : m.workers) EncodeWorker(out, worker);
    return MessageType::kScenarioResult;
  }
  MessageType operator()(const Log& m) const {
    out.Bytes(FieldTag::kText, m.text);
    return MessageType::kLog;
  }
  MessageType operator()(const Bye&) const { return MessageType::kBye; }
  MessageType operator()(const Ready&) const { return MessageType::kReady; }
  MessageType operator()(const Go&) const { return MessageType::kGo; }
};

// Everything a payload can say, each field at most once but for the repeated ones. Which of them a
// message needs is decided afterwards, in one place per message.
struct Fields {
  std::optional<uint32_t> protocol_version, max_frozen_permille, status_code;
  std::optional<uint64_t> guest_tsc, guest_monotonic_ns, hold_ms, max_captures;
  std::optional<uint64_t> condition_first, condition_second, every_nth, min_interval_us;
  std::optional<uint8_t> request_kind, condition_kind, on_budget, queue_full;
  std::optional<bool> ok, passed;
  std::optional<std::string> scenario, subject, reason, exit_reason, text;
  std::map<std::string, std::string> parameters;
  std::vector<std::string> details, variables;
  std::vector<WorkerReport> workers;
};

template <typename T>
absl::Status SetOnce(const FieldReader& reader, absl::StatusOr<T> value, std::optional<T>& to) {
  if (!value.ok()) return value.status();
  if (to.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("bad field: ", FieldName(reader.tag()), " stands there twice"));
  }
  to = *std::move(value);
  return absl::OkStatus();
}

absl::Status SetOnce(const FieldReader& reader, std::optional<std::string>& to) {
  return SetOnce<std::string>(reader, std::string(reader.Bytes()), to);
}

absl::Status ReadField(const FieldReader& reader, Fields& to, std::optional<std::string>& key) {
  const auto tag = static_cast<FieldTag>(reader.tag());
  if (key.has_value() && tag != FieldTag::kParameterValue) {
    return absl::InvalidArgumentError(absl::StrCat("bad field: a parameter_key is followed by ",
                                                   FieldName(reader.tag()),
                                                   ", not by a parameter_value"));
  }
  switch (tag) {
    case FieldTag::kProtocolVersion: return SetOnce(reader, reader.U32(), to.protocol_version);
    case FieldTag::kScenario: return SetOnce(reader, to.scenario);
    case FieldTag::kGuestTsc: return SetOnce(reader, reader.U64(), to.guest_tsc);
    case FieldTag::kGuestMonotonicNs: return SetOnce(reader, reader.U64(), to.guest_monotonic_ns);
    case FieldTag::kHoldMs: return SetOnce(reader, reader.U64(), to.hold_ms);
    case FieldTag::kRequestKind: return SetOnce(reader, reader.U8(), to.request_kind);
    case FieldTag::kSubject: return SetOnce(reader, to.subject);
    case FieldTag::kMaxCaptures: return SetOnce(reader, reader.U64(), to.max_captures);
    case FieldTag::kMaxFrozenPermille: return SetOnce(reader, reader.U32(), to.max_frozen_permille);
    case FieldTag::kConditionKind: return SetOnce(reader, reader.U8(), to.condition_kind);
    case FieldTag::kConditionFirst: return SetOnce(reader, reader.U64(), to.condition_first);
    case FieldTag::kConditionSecond: return SetOnce(reader, reader.U64(), to.condition_second);
    case FieldTag::kEveryNth: return SetOnce(reader, reader.U64(), to.every_nth);
    case FieldTag::kMinIntervalUs: return SetOnce(reader, reader.U64(), to.min_interval_us);
    case FieldTag::kOnBudget: return SetOnce(reader, reader.U8(), to.on_budget);
    case FieldTag::kQueueFull: return SetOnce(reader, reader.U8(), to.queue_full);
    case FieldTag::kOk: return SetOnce(reader, reader.Bool(), to.ok);
    case FieldTag::kReason: return SetOnce(reader, to.reason);
    case FieldTag::kStatusCode: return SetOnce(reader, reader.U32(), to.status_code);
    case FieldTag::kPassed: return SetOnce(reader, reader.Bool(), to.passed);
    case FieldTag::kExitReason: return SetOnce(reader, to.exit_reason);
    case FieldTag::kText: return SetOnce(reader, to.text);
    case FieldTag::kParameterKey: key = std::string(reader.Bytes()); return absl::OkStatus();
    case FieldTag::kParameterValue:
      if (!key.has_value()) {
        return absl::InvalidArgumentError("bad field: a parameter_value without a parameter_key");
      }
      if (to.parameters.size() == kMaxRepeatedFields) {
        return absl::InvalidArgumentError(
            absl::StrCat("more than ", kMaxRepeatedFields, " parameters"));
      }
      to.parameters.insert_or_assign(*std::move(key), std::string(reader.Bytes()));
      key.reset();
      return absl::OkStatus();
    case FieldTag::kDetail:
      if (to.details.size() == kMaxRepeatedFields) {
        return absl::InvalidArgumentError(
            absl::StrCat("more than ", kMaxRepeatedFields, " details"));
      }
      to.details.emplace_back(reader.Bytes());
      return absl::OkStatus();
    case FieldTag::kVariable:
      if (to.variables.size() == kMaxRepeatedFields) {
        return absl::InvalidArgumentError(
            absl::StrCat("more than ", kMaxRepeatedFields, " variables"));
      }
      to.variables.emplace_back(reader.Bytes());
      return absl::OkStatus();
    case FieldTag::kWorker: {
      if (to.workers.size() == kMaxRepeatedFields) {
        return absl::InvalidArgumentError(
            absl::StrCat("more than ", kMaxRepeatedFields, " workers"));
      }
      absl::StatusOr<WorkerReport> worker = DecodeWorker(reader.Bytes());
      if (!worker.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("bad field: worker ", to.workers.size(), ": ",
                                                       worker.status().message()));
      }
      to.workers.push_back(*std::move(worker));
      return absl::OkStatus();
    }
    default: return absl::OkStatus();  // belongs into a worker
  }
  return absl::OkStatus();  // a newer peer's field
}

absl::StatusOr<Fields> ReadFields(absl::Span<const uint8_t> payload) {
  Fields fields;
  std::optional<std::string> key;
  FieldReader reader(payload);
  while (reader.Next()) {
    if (absl::Status status = ReadField(reader, fields, key); !status.ok()) return status;
  }
  if (!reader.status().ok()) return reader.status();
  if (key.has_value()) {
    return absl::InvalidArgumentError("bad field: a parameter_key without a parameter_value");
  }
  return fields;
}

absl::Status Missing(MessageType type, FieldTag tag) {
  return absl::InvalidArgumentError(absl::StrCat(MessageTypeName(static_cast<uint8_t>(type)),
                                                 " without its field ",
                                                 FieldName(static_cast<uint16_t>(tag))));
}

absl::StatusOr<Message> ToHello(Fields& f) {
  constexpr auto kType = MessageType::kHello;
  if (!f.protocol_version) return Missing(kType, FieldTag::kProtocolVersion);
  if (!f.scenario) return Missing(kType, FieldTag::kScenario);
  return Hello{*f.protocol_version, *std::move(f.scenario), f.guest_tsc.value_or(0),
               f.guest_monotonic_ns.value_or(0)};
}

// What a watch's fields say of when it captures; refused where a value has no meaning.
absl::Status ReadPolicies(const Fields& f, WatchRequestOptions& to) {
  if (f.condition_kind) {
    if (*f.condition_kind >= WatchCondition::kKinds) {
      return absl::InvalidArgumentError(absl::StrCat("condition_kind must be below ",
                                                     WatchCondition::kKinds, ", it is ",
                                                     *f.condition_kind));
    }
    to.when = WatchCondition{static_cast<WatchCondition::Kind>(*f.condition_kind),
                             f.condition_first.value_or(0), f.condition_second.value_or(0)};
    if (absl::Status status = CheckWatchCondition(*to.when); !status.ok()) return status;
  }
  if (f.every_nth == 0u) {
    return absl::InvalidArgumentError("every_nth must be 1 or more, it is 0");
  }
  to.every_nth = f.every_nth;
  to.min_interval_us = f.min_interval_us;
  if (f.on_budget) {
    if (*f.on_budget > static_cast<uint8_t>(OnBudget::kDisarm)) {
      return absl::InvalidArgumentError(
          absl::StrCat("on_budget must be 0 (count) or 1 (disarm), it is ", *f.on_budget));
    }
    to.on_budget = static_cast<OnBudget>(*f.on_budget);
  }
  if (f.queue_full) {
    if (*f.queue_full > static_cast<uint8_t>(QueueFull::kCount)) {
      return absl::InvalidArgumentError(
          absl::StrCat("queue_full must be 0 (block) or 1 (count), it is ", *f.queue_full));
    }
    to.queue_full = static_cast<QueueFull>(*f.queue_full);
  }
  return absl::OkStatus();
}

absl::StatusOr<Message> ToSnapshotRequest(Fields& f) {
  constexpr auto kType = MessageType::kSnapshotRequest;
  if (!f.request_kind) return Missing(kType, FieldTag::kRequestKind);
  if (!f.subject) return Missing(kType, FieldTag::kSubject);
  const auto kind = static_cast<SnapshotRequestKind>(*f.request_kind);
  if (kind != SnapshotRequestKind::kCapture && kind != SnapshotRequestKind::kWatch &&
      kind != SnapshotRequestKind::kPeriodicCapture) {
    return absl::InvalidArgumentError(
        absl::StrCat("request_kind must be 1 (capture), 2 (watch) or 3 (periodic capture), it is ",
                     *f.request_kind));
  }
  if (f.subject->empty()) {
    return absl::InvalidArgumentError(kind == SnapshotRequestKind::kWatch
                                          ? "a watch needs a symbol, it is empty"
                                          : "a capture needs a tag, it is empty");
  }
  WatchRequestOptions options = {f.max_captures, f.max_frozen_permille, std::move(f.variables)};
  if (absl::Status status = ReadPolicies(f, options); !status.ok()) return status;
  return SnapshotRequest{kind, *std::move(f.subject), std::move(options)};
}

absl::StatusOr<Message> ToSnapshotReply(Fields& f) {
  constexpr auto kType = MessageType::kSnapshotReply;
  if (!f.ok) return Missing(kType, FieldTag::kOk);
  if (*f.ok) return SnapshotReply{.ok = true, .reason = {}};
  if (!f.reason) return Missing(kType, FieldTag::kReason);
  auto code = static_cast<absl::StatusCode>(f.status_code.value_or(0));
  // A negative answer must never turn into an ok one.
  if (code < absl::StatusCode::kCancelled || code > absl::StatusCode::kUnauthenticated) {
    code = absl::StatusCode::kUnknown;
  }
  return SnapshotReply{false, *std::move(f.reason), code};
}

}  // namespace

WatchRequestOptions WatchRequestOptions::Of(const WatchOptions& options) {
  return {.max_captures = options.max_captures,
          .max_frozen_permille = options.max_frozen_permille,
          .variables = options.variables,
          .when = options.when,
          .every_nth = options.every_nth,
          .min_interval_us = options.min_interval_us,
          .on_budget = options.on_budget,
          .queue_full = options.queue_full};
}

void WatchRequestOptions::ApplyTo(WatchOptions& options) const {
  options.max_captures = max_captures.value_or(options.max_captures);
  options.max_frozen_permille = max_frozen_permille.value_or(options.max_frozen_permille);
  options.variables.insert(options.variables.end(), variables.begin(), variables.end());
  options.when = when.value_or(options.when);
  options.every_nth = every_nth.value_or(options.every_nth);
  options.min_interval_us = min_interval_us.value_or(options.min_interval_us);
  options.on_budget = on_budget.value_or(options.on_budget);
  options.queue_full = queue_full.value_or(options.queue_full);
}

SnapshotReply SnapshotReply::FromStatus(const absl::Status& status) {
  return SnapshotReply{status.ok(), std::string(status.message()), status.code()};
}

absl::Status SnapshotReply::ToStatus() const {
  if (ok) return absl::OkStatus();
  return absl::Status(code == absl::StatusCode::kOk ? absl::StatusCode::kUnknown : code, reason);
}

absl::StatusOr<std::string> EncodeMessage(uint32_t sequence, const Message& message) {
  FieldWriter fields;
  const MessageType type = std::visit(Encoder{fields}, message);
  return EncodeFrame(type, sequence, fields.payload());
}

absl::StatusOr<Message> DecodeMessage(const Frame& frame) {
  const auto type = static_cast<MessageType>(frame.header.type);
  if (type < MessageType::kHello || type > MessageType::kGo) {
    return absl::UnimplementedError(
        absl::StrCat("unknown message ", MessageTypeName(frame.header.type)));
  }
  absl::StatusOr<Fields> fields = ReadFields(frame.payload);
  if (!fields.ok()) {
    return absl::Status(fields.status().code(), absl::StrCat(MessageTypeName(frame.header.type),
                                                             ": ", fields.status().message()));
  }
  Fields& f = *fields;
  switch (type) {
    case MessageType::kHello: return ToHello(f);
    case MessageType::kHelloReply:
      if (!f.hold_ms) return Missing(type, FieldTag::kHoldMs);
      return HelloReply{*f.hold_ms, std::move(f.parameters)};
    case MessageType::kSnapshotRequest: return ToSnapshotRequest(f);
    case MessageType::kSnapshotReply: return ToSnapshotReply(f);
    case MessageType::kScenarioResult:
      if (!f.passed) return Missing(type, FieldTag::kPassed);
      return ScenarioResult{*f.passed, std::move(f.details), f.exit_reason.value_or(""),
                            std::move(f.workers)};
    case MessageType::kLog:
      if (!f.text) return Missing(type, FieldTag::kText);
      return Log{*std::move(f.text)};
    case MessageType::kBye: return Bye{};
    case MessageType::kReady: return Ready{};
    case MessageType::kGo: return Go{};
  }
  return absl::InternalError("a known message type without a decoder");
}

std::string MessageTypeName(uint8_t type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::kHello: return "HELLO";
    case MessageType::kHelloReply: return "HELLO_REPLY";
    case MessageType::kSnapshotRequest: return "SNAPSHOT_REQUEST";
    case MessageType::kSnapshotReply: return "SNAPSHOT_REPLY";
    case MessageType::kScenarioResult: return "SCENARIO_RESULT";
    case MessageType::kLog: return "LOG";
    case MessageType::kBye: return "BYE";
    case MessageType::kReady: return "READY";
    case MessageType::kGo: return "GO";
  }
  return absl::StrCat("type ", type);
}

}  // namespace watchsnap
