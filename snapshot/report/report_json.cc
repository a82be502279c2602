#include "snapshot/report/report_json.h"

#include <algorithm>
#include <optional>

#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

void AppendMore(const JsonMembers& members, JsonObject& object) {
  for (const JsonMember& member : members) object.Raw(member.name, member.json);
}

template <typename T>
void UintOrNull(JsonObject& object, std::string_view name, const std::optional<T>& value) {
  if (value.has_value()) {
    object.Uint(name, static_cast<uint64_t>(*value));
  } else {
    object.Null(name);
  }
}

template <typename T>
void UintIfPresent(JsonObject& object, std::string_view name, const std::optional<T>& value) {
  if (value.has_value()) object.Uint(name, *value);
}

void StringIfPresent(JsonObject& object, std::string_view name, std::string_view value) {
  if (!value.empty()) object.String(name, value);
}

void AppendWriter(const CodeLocation& writer, std::string& out) {
  JsonObject object(out);
  if (writer.address) object.Hex("address", *writer.address);
  if (writer.next_address) object.Hex("next_address", *writer.next_address);
  if (!writer.symbol.empty()) object.String("symbol", writer.symbol).Uint("offset", writer.offset);
  StringIfPresent(object, "file", writer.file);
  UintIfPresent(object, "line", writer.line);
  AppendMore(writer.more, object);
  object.Close();
}

void AppendTrigger(const Trigger& trigger, std::string& out) {
  JsonObject object(out);
  object.String("kind", TriggerKindName(trigger.kind));
  StringIfPresent(object, "symbol", trigger.symbol);
  if (trigger.address) object.Hex("address", *trigger.address);
  UintOrNull(object, "slot", trigger.slot);
  if (trigger.vcpu) object.Int("vcpu", *trigger.vcpu);
  UintIfPresent(object, "watched_bytes", trigger.watched_bytes);
  UintIfPresent(object, "symbol_bytes", trigger.symbol_bytes);
  UintOrNull(object, "old", trigger.old_value);
  UintOrNull(object, "new", trigger.new_value);
  UintIfPresent(object, "guest_time_ns", trigger.guest_time_ns);
  UintIfPresent(object, "host_time_ns", trigger.host_time_ns);
  UintIfPresent(object, "freeze", trigger.freeze);
  if (trigger.writer) AppendWriter(*trigger.writer, object.Key("writer"));
  AppendMore(trigger.more, object);
  object.Close();
}

void AppendVcpu(const VcpuReport& vcpu, std::string& out) {
  JsonObject object(out);
  object.Int("index", vcpu.index);
  JsonObject registers(object.Key("registers"));
  for (const Register& reg : vcpu.registers) registers.Hex(reg.name, reg.value);
  registers.Close();
  StringIfPresent(object, "symbol", vcpu.symbol);
  UintIfPresent(object, "offset", vcpu.offset);
  AppendMore(vcpu.more, object);
  object.Close();
}

void AppendCost(const CaptureCost& cost, std::string& out) {
  JsonObject object(out);
  object.Uint("freeze_ns", cost.freeze_ns)
      .Uint("evidence_ns", cost.evidence_ns)
      .Uint("thaw_ns", cost.thaw_ns)
      .Uint("pause_ns", cost.pause_ns);
  UintIfPresent(object, "hidden_ns", cost.hidden_ns);
  UintIfPresent(object, "evidence_bytes", cost.evidence_bytes);
  object.Close();
}

template <typename T, typename Append>
void AppendArray(const std::vector<T>& items, std::string& out, Append append) {
  out += '[';
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ',';
    append(items[i], out);
  }
  out += ']';
}

}  // namespace

void AppendReportJson(const Report& report, std::string& out) {
  const size_t start = out.size();
  JsonObject object(out);
  object.String("schema", kCaptureSchema).String("tag", report.tag);
  if (!IsUtf8(report.tag)) object.String("tag_hex", ToHex(report.tag));
  object.Uint("seq", report.seq);
  AppendTrigger(report.trigger, object.Key("trigger"));
  AppendArray(report.vcpus, object.Key("vcpus"), AppendVcpu);
  AppendMore(report.more, object);
  AppendCost(report.cost, object.Key("cost"));
  AppendArray(report.degraded, object.Key("degraded"), [](const Degraded& d, std::string& to) {
    JsonObject(to).String("what", d.what).String("why", d.why).Close();
  });
  object.Close();
  // One document a line is the format's only framing; in valid JSON a line end is white space.
  std::replace(out.begin() + static_cast<std::ptrdiff_t>(start), out.end(), '\n', ' ');
}

void AppendSummaryJson(const WatchCounters& counters, std::string& out) {
  JsonObject object(out);
  object.String("schema", kSummarySchema);
  JsonObject summary(object.Key("summary"));
  summary.Uint("armed", counters.armed)
      .Uint("hits", counters.hits)
      .Uint("captured", counters.captured)
      .Uint("coalesced", counters.coalesced)
      .Uint("suppressed", counters.suppressed)
      .Uint("lost", counters.lost);
  if (counters.disarmed != 0) summary.Uint("disarmed", counters.disarmed);
  if (counters.suppressed_by != SuppressedBy()) {
    JsonObject by(summary.Key("suppressed_by"));
    SuppressedBy::ForEach(counters.suppressed_by, [&by](const char* name, uint64_t count) {
      if (count != 0) by.Uint(name, count);
    });
    by.Close();
  }
  summary.Close();
  object.Close();
}

}  // namespace watchsnap
