#include "snapshot/report/schema_shapes.h"

#include <utility>

namespace watchsnap {
namespace {

constexpr bool kRequired = true;

// Shapes live as long as the program; they refer to each other.
const Shape* Of(ShapeKind kind) { return new Shape{.kind = kind}; }
const Shape* Object(std::vector<MemberShape> members) {
  return new Shape{.kind = ShapeKind::kObject, .members = std::move(members)};
}
const Shape* ArrayOf(const Shape* element) {
  return new Shape{.kind = ShapeKind::kArray, .element = element};
}
const Shape* ByName(const Shape* element, bool hex_names = false) {
  return new Shape{.kind = ShapeKind::kByName, .element = element, .hex_names = hex_names};
}

struct Basics {
  const Shape* any = Of(ShapeKind::kAny);
  const Shape* boolean = Of(ShapeKind::kBool);
  const Shape* uint = Of(ShapeKind::kUint);
  const Shape* integer = Of(ShapeKind::kInt);
  const Shape* hex = Of(ShapeKind::kHex);
  const Shape* string = Of(ShapeKind::kString);
  const Shape* name = Of(ShapeKind::kName);
};

const Basics& Basic() {
  static const Basics& basics = *new Basics;
  return basics;
}

const Shape* Stack() {
  const Basics& b = Basic();
  static const Shape* const stack = ArrayOf(Object({
      {"address", b.hex},
      {"symbol", b.string},
      {"offset", b.uint},
      {"file", b.string},
      {"line", b.uint},
      {"inlined", ArrayOf(Object({{"function", b.string}, {"file", b.string}, {"line", b.uint}}))},
      {"interrupted", b.boolean},
  }));
  return stack;
}

const Shape* Trigger() {
  const Basics& b = Basic();
  return Object({
      {"kind", b.string, kRequired},
      {"symbol", b.string},
      {"address", b.hex},
      {"slot", b.uint, false, true},
      {"vcpu", b.uint},
      {"watched_bytes", b.uint},
      {"symbol_bytes", b.uint},
      {"old", b.uint, false, true},
      {"new", b.uint, false, true},
      {"guest_time_ns", b.uint},
      {"host_time_ns", b.uint},
      {"freeze", b.uint},
      {"end", b.string},
      {"writer",
       Object({{"address", b.hex},
               {"next_address", b.hex},
               {"symbol", b.string},
               {"offset", b.uint},
               {"file", b.string},
               {"line", b.uint},
               {"inlined", ArrayOf(Object({{"function", b.string, kRequired},
                                           {"file", b.string},
                                           {"line", b.uint}}))}})},
      {"stack", Stack()},
  });
}

const Shape* Vcpu() {
  const Basics& b = Basic();
  return Object({
      {"index", b.uint, kRequired},
      {"registers", ByName(b.hex)},
      {"symbol", b.string},
      {"offset", b.uint},
      {"task", Object({{"address", b.hex, kRequired},
                       {"pid", b.integer},
                       {"tgid", b.integer},
                       {"comm", b.string},
                       {"state", b.string},
                       {"policy", b.name},
                       {"cpu", b.uint},
                       {"prio", b.integer}})},
      {"stack", Stack()},
      {"stack_end", b.string},
  });
}

const Shape* Variables() {
  const Basics& b = Basic();
  return ByName(Object({
      {"address", b.hex},
      {"type", b.string},
      {"bytes", b.uint},
      {"value", b.any, false, true},
      {"per_cpu", ArrayOf(Object({{"address", b.hex}, {"value", b.any, false, true}}))},
  }));
}

const Shape* Maps() {
  const Basics& b = Basic();
  return ByName(Object({
      {"id", b.uint, kRequired},
      {"type", b.name, kRequired},
      {"key_size", b.uint},
      {"value_size", b.uint},
      {"max_entries", b.uint},
      {"value", b.any, false, true},
      {"entries", ArrayOf(Object({{"key", b.any, kRequired, true},
                                  {"value", b.any, false, true},
                                  {"values", ArrayOf(b.any)}}))},
      {"entries_total", b.uint},
  }));
}

const Shape* Scx() {
  const Basics& b = Basic();
  const Shape* const task = Object({{"address", b.hex}, {"pid", b.integer}, {"comm", b.string}});
  const Shape* const dsq = Object({{"id", b.name},
                                   {"node", b.uint},
                                   {"address", b.hex},
                                   {"nr", b.uint},
                                   {"tasks", ArrayOf(task)}});
  const Shape* const cpu_dsq = Object(
      {{"id", b.name}, {"address", b.hex}, {"nr", b.uint}, {"tasks", ArrayOf(task)}});
  const Shape* const cpu = Object({{"cpu", b.uint, kRequired},
                                   {"nr_running", b.uint},
                                   {"scx_nr_running", b.uint},
                                   {"flags", b.name},
                                   {"cpu_released", b.boolean},
                                   {"bypassing", b.boolean},
                                   {"curr", task},
                                   {"local_dsq", cpu_dsq},
                                   {"bypass_dsq", cpu_dsq}});
  const Shape* const queued_task = Object({{"address", b.hex, kRequired},
                                           {"pid", b.integer},
                                           {"comm", b.string},
                                           {"state", b.string},
                                           {"policy", b.name},
                                           {"cpu", b.uint},
                                           {"scx_state", b.name},
                                           {"flags", b.name},
                                           {"weight", b.uint},
                                           {"slice", b.uint},
                                           {"dsq_vtime", b.uint},
                                           {"runnable_at", b.uint},
                                           {"sticky_cpu", b.integer},
                                           {"holding_cpu", b.integer},
                                           {"dsq", b.name, false, true},
                                           {"scheduler", b.hex}});
  return Object({
      {"state", b.name, kRequired},
      {"root", Object({{"address", b.hex},
                       {"ops_name", b.string},
                       {"ops_flags", b.name},
                       {"timeout_ms", b.uint},
                       {"dispatch_max_batch", b.uint},
                       {"exit_kind", b.name},
                       {"switched_all", b.boolean},
                       {"slice_dfl", b.uint},
                       {"aborting", b.boolean},
                       {"id", b.uint}})},
      {"exit", Object({{"kind", b.name},
                       {"exit_code", b.integer},
                       {"exit_cpu", b.integer},
                       {"flags", b.name},
                       {"reason", b.string},
                       {"msg", b.string},
                       {"backtrace", ArrayOf(b.string)},
                       {"dump", b.string}})},
      {"sub_schedulers", ArrayOf(Object({{"address", b.hex, kRequired},
                                         {"ops_name", b.string},
                                         {"id", b.uint},
                                         {"level", b.uint},
                                         {"cgroup", b.name},
                                         {"exit_kind", b.name}}))},
      {"bypass", Object({{"depth", b.integer}, {"cpus", ArrayOf(b.uint)}})},
      {"cpus", ArrayOf(cpu)},
      {"dsqs", ArrayOf(dsq)},
      {"tasks", ArrayOf(queued_task)},
  });
}

}  // namespace

const Shape& CaptureShape() {
  const Basics& b = Basic();
  static const Shape* const capture = Object({
      {"schema", b.string, kRequired},
      {"tag", b.string, kRequired},
      {"tag_hex", b.string},
      {"seq", b.uint, kRequired},
      {"trigger", Trigger(), kRequired},
      {"vcpus", ArrayOf(Vcpu())},
      {"variables", Variables()},
      {"maps", Maps()},
      {"objects", ByName(Object({{"type", b.string, kRequired}, {"value", b.any, kRequired, true}}),
                         /*hex_names=*/true)},
      {"scx", Scx()},
      {"console_tail", b.string},
      {"cost", Object({{"freeze_ns", b.uint, kRequired},
                       {"evidence_ns", b.uint, kRequired},
                       {"thaw_ns", b.uint, kRequired},
                       {"pause_ns", b.uint, kRequired},
                       {"hidden_ns", b.uint},
                       {"evidence_bytes", b.uint}})},
      {"degraded",
       ArrayOf(Object({{"what", b.string, kRequired}, {"why", b.string, kRequired}}))},
  });
  return *capture;
}

const Shape& SummaryShape() {
  const Basics& b = Basic();
  static const Shape* const summary =
      Object({{"schema", b.string, kRequired},
              {"summary", Object({{"armed", b.uint, kRequired},
                                  {"hits", b.uint, kRequired},
                                  {"captured", b.uint, kRequired},
                                  {"coalesced", b.uint, kRequired},
                                  {"suppressed", b.uint, kRequired},
                                  {"lost", b.uint, kRequired},
                                  {"disarmed", b.uint},
                                  {"suppressed_by", ByName(b.uint)}}),
               kRequired}});
  return *summary;
}

}  // namespace watchsnap
