#include "snapshot/report/report_parse.h"

#include <charconv>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "simdjson.h"
#include "snapshot/report/json_read.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

using json_read::ForEachItem;
using json_read::ForEachMember;
using json_read::Read;
using json_read::ReadHex;
using json_read::ReadRaw;
using json_read::Value;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

absl::Status ReadMore(std::string_view name, Value& value, JsonMembers& more) {
  const std::string owned(name);  // the parser reuses its string buffer
  std::string json;
  if (absl::Status status = ReadRaw(owned, value, json); !status.ok()) return status;
  more.push_back({owned, std::move(json)});
  return absl::OkStatus();
}

absl::Status ReadWriter(Value& writer, CodeLocation& to) {
  return ForEachMember("trigger.writer", writer, [&](std::string_view name, Value& value) {
    if (name == "address") return ReadHex("trigger.writer.address", value, to.address.emplace());
    if (name == "next_address") {
      return ReadHex("trigger.writer.next_address", value, to.next_address.emplace());
    }
    if (name == "symbol") return Read("trigger.writer.symbol", value, to.symbol);
    if (name == "offset") return Read("trigger.writer.offset", value, to.offset);
    if (name == "file") return Read("trigger.writer.file", value, to.file);
    if (name == "line") return Read("trigger.writer.line", value, to.line);
    return ReadMore(name, value, to.more);
  });
}

absl::Status ReadKind(Value& value, TriggerKind& to) {
  std::string name;
  if (absl::Status status = Read("trigger.kind", value, name); !status.ok()) return status;
  absl::StatusOr<TriggerKind> kind = ParseTriggerKind(name);
  if (!kind.ok()) return kind.status();
  to = *kind;
  return absl::OkStatus();
}

absl::Status ReadTrigger(Value& trigger, Trigger& to) {
  bool has_kind = false;
  absl::Status status = ForEachMember("trigger", trigger, [&](std::string_view name, Value& value) {
    if (name == "kind") {
      has_kind = true;
      return ReadKind(value, to.kind);
    }
    if (name == "symbol") return Read("trigger.symbol", value, to.symbol);
    if (name == "address") return ReadHex("trigger.address", value, to.address.emplace());
    if (name == "slot") return Read("trigger.slot", value, to.slot);
    if (name == "vcpu") return Read("trigger.vcpu", value, to.vcpu);
    if (name == "watched_bytes") return Read("trigger.watched_bytes", value, to.watched_bytes);
    if (name == "symbol_bytes") return Read("trigger.symbol_bytes", value, to.symbol_bytes);
    if (name == "old") return Read("trigger.old", value, to.old_value);
    if (name == "new") return Read("trigger.new", value, to.new_value);
    if (name == "guest_time_ns") return Read("trigger.guest_time_ns", value, to.guest_time_ns);
    if (name == "host_time_ns") return Read("trigger.host_time_ns", value, to.host_time_ns);
    if (name == "freeze") return Read("trigger.freeze", value, to.freeze);
    if (name == "writer") return ReadWriter(value, to.writer.emplace());
    return ReadMore(name, value, to.more);
  });
  if (status.ok() && !has_kind) return absl::InvalidArgumentError("trigger: it has no kind");
  return status;
}

absl::Status ReadVcpu(Value& vcpu, VcpuReport& to) {
  return ForEachMember("vcpus", vcpu, [&](std::string_view name, Value& value) {
    if (name == "index") return Read("vcpus.index", value, to.index);
    if (name == "symbol") return Read("vcpus.symbol", value, to.symbol);
    if (name == "offset") return Read("vcpus.offset", value, to.offset);
    if (name == "registers") {
      return ForEachMember("vcpus.registers", value, [&](std::string_view reg, Value& content) {
        to.registers.push_back({std::string(reg), 0});
        return ReadHex("vcpus.registers", content, to.registers.back().value);
      });
    }
    return ReadMore(name, value, to.more);
  });
}

absl::Status ReadCost(Value& cost, CaptureCost& to) {
  return ForEachMember("cost", cost, [&](std::string_view name, Value& value) {
    if (name == "freeze_ns") return Read("cost.freeze_ns", value, to.freeze_ns);
    if (name == "evidence_ns") return Read("cost.evidence_ns", value, to.evidence_ns);
    if (name == "thaw_ns") return Read("cost.thaw_ns", value, to.thaw_ns);
    if (name == "pause_ns") return Read("cost.pause_ns", value, to.pause_ns);
    if (name == "hidden_ns") return Read("cost.hidden_ns", value, to.hidden_ns);
    if (name == "evidence_bytes") return Read("cost.evidence_bytes", value, to.evidence_bytes);
    return absl::OkStatus();
  });
}

absl::Status ReadDegraded(Value& degraded, Degraded& to) {
  return ForEachMember("degraded", degraded, [&](std::string_view name, Value& value) {
    if (name == "what") return Read("degraded.what", value, to.what);
    if (name == "why") return Read("degraded.why", value, to.why);
    return absl::OkStatus();
  });
}

absl::Status ReadSuppressedBy(Value& by, SuppressedBy& to) {
  return ForEachMember("summary.suppressed_by", by, [&](std::string_view name, Value& value) {
    absl::Status status;
    SuppressedBy::ForEach(to, [&](const char* known, uint64_t& count) {
      if (name == known) status = Read("summary.suppressed_by", value, count);
    });
    return status;
  });
}

absl::Status ReadSummary(Value& summary, WatchCounters& to) {
  return ForEachMember("summary", summary, [&](std::string_view name, Value& value) {
    if (name == "armed") return Read("summary.armed", value, to.armed);
    if (name == "hits") return Read("summary.hits", value, to.hits);
    if (name == "captured") return Read("summary.captured", value, to.captured);
    if (name == "coalesced") return Read("summary.coalesced", value, to.coalesced);
    if (name == "suppressed") return Read("summary.suppressed", value, to.suppressed);
    if (name == "lost") return Read("summary.lost", value, to.lost);
    if (name == "disarmed") return Read("summary.disarmed", value, to.disarmed);
    if (name == "suppressed_by") return ReadSuppressedBy(value, to.suppressed_by);
    return absl::OkStatus();
  });
}

template <typename T>
absl::Status ReadItem(Value& value, std::vector<T>& items, absl::Status (*read)(Value&, T&)) {
  return read(value, items.emplace_back());
}

// A line's members in whatever order; which of them must be there is the schema's affair,
// afterwards.
struct Line {
  std::string schema;
  Report report;
  std::string tag_hex;
  std::optional<WatchCounters> summary;
  bool has_tag = false, has_seq = false, has_trigger = false;
};

absl::Status ReadMember(std::string_view name, Value& value, Line& line) {
  Report& report = line.report;
  if (name == "schema") return Read("schema", value, line.schema);
  if (name == "tag") {
    line.has_tag = true;
    return Read("tag", value, report.tag);
  }
  if (name == "tag_hex") return Read("tag_hex", value, line.tag_hex);
  if (name == "seq") {
    line.has_seq = true;
    return Read("seq", value, report.seq);
  }
  if (name == "trigger") {
    line.has_trigger = true;
    return ReadTrigger(value, report.trigger);
  }
  if (name == "vcpus") {
    return ForEachItem("vcpus", value,
                       [&](Value& v) { return ReadItem(v, report.vcpus, ReadVcpu); });
  }
  if (name == "cost") return ReadCost(value, report.cost);
  if (name == "degraded") {
    return ForEachItem("degraded", value,
                       [&](Value& v) { return ReadItem(v, report.degraded, ReadDegraded); });
  }
  if (name == "summary") return ReadSummary(value, line.summary.emplace());
  return ReadMore(name, value, report.more);
}

absl::StatusOr<SidecarLine> Finish(Line line) {
  if (line.schema == kSummarySchema) {
    if (!line.summary) return absl::InvalidArgumentError("a summary line without a summary");
    return *line.summary;
  }
  if (line.schema != kCaptureSchema) {
    return absl::FailedPreconditionError(
        absl::StrCat("this version reads the schemas ", kCaptureSchema, " and ", kSummarySchema,
                     "; found ", line.schema.empty() ? "none" : line.schema));
  }
  if (!line.has_tag) return absl::InvalidArgumentError("a capture without a tag");
  if (!line.has_seq) return absl::InvalidArgumentError("a capture without a seq");
  if (!line.has_trigger) return absl::InvalidArgumentError("a capture without a trigger");
  if (!line.tag_hex.empty() && !FromHex(line.tag_hex, line.report.tag)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tag_hex: expected hexadecimal digits, found ", line.tag_hex.substr(0, 60)));
  }
  return std::move(line.report);
}

}  // namespace

struct ReportParser::State {
  simdjson::ondemand::parser on_demand;
  simdjson::dom::parser dom;
  std::string padded;
};

ReportParser::ReportParser() : state_(std::make_unique<State>()) {}
ReportParser::~ReportParser() = default;

absl::StatusOr<SidecarLine> ReportParser::Parse(std::string_view text) {
  state_->padded.assign(text);
  state_->padded.append(kJsonPadding, '\0');
  return ParsePadded(std::string_view(state_->padded).substr(0, text.size()));
}

absl::StatusOr<SidecarLine> ReportParser::ParsePadded(std::string_view text) {
  simdjson::ondemand::document document;
  const simdjson::padded_string_view padded(text, text.size() + kJsonPadding);
  if (auto error = state_->on_demand.iterate(padded).get(document)) {
    return json_read::Malformed("the line", error);
  }
  simdjson::ondemand::object object;
  if (document.get_object().get(object) != simdjson::SUCCESS) {
    return absl::InvalidArgumentError("the line: expected a JSON object");
  }
  Line line;
  absl::Status status = ForEachMember("the line", object, [&](std::string_view name, Value& value) {
    return ReadMember(name, value, line);
  });
  if (!status.ok()) return status;
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) {
    return absl::InvalidArgumentError("the line: something follows the JSON object");
  }
  return Finish(std::move(line));
}

bool ReportParser::IsWellFormed(std::string_view text) {
  simdjson::dom::element ignored;
  return state_->dom.parse(text.data(), text.size()).get(ignored) == simdjson::SUCCESS;
}

absl::StatusOr<Report> ParseReport(std::string_view text) {
  ReportParser parser;
  absl::StatusOr<SidecarLine> line = parser.Parse(text);
  if (!line.ok()) return line.status();
  if (auto* report = std::get_if<Report>(&*line)) return std::move(*report);
  return absl::InvalidArgumentError("expected a capture, found a summary");
}

}  // namespace watchsnap
