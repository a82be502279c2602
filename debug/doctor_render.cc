// DoctorText and DoctorJson.
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/doctor.h"

namespace watchsnap {
namespace {

// RFC 8259 §7. Bytes from 0x80 on pass through: what is quoted here is ASCII or comes from
// strerror.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&quoted, "\\u%04x", c);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

const char* Bool(bool value) { return value ? "true" : "false"; }

std::string WatchCount(const DebugCapabilities& capabilities) {
  return capabilities.user_watches >= kUnlimitedWatches
             ? "any number of watches"
             : absl::StrCat(capabilities.user_watches, " watches at a time");
}

std::string_view OutcomeName(SlotOutcome outcome) {
  switch (outcome) {
    case SlotOutcome::kDelivers: return "delivers";
    case SlotOutcome::kNeverDelivers: return "never delivers";
    case SlotOutcome::kMisdelivers: return "misdelivers";
    case SlotOutcome::kRefuses: return "refuses";
  }
  return "?";
}

// "    ok        works here" or what stands against it.
std::string Here(std::string_view where, const absl::Status& status) {
  if (status.ok()) return absl::StrCat("    ok        works ", where, "\n");
  return absl::StrCat("    no        does not work ", where, ": ", status.message(), "\n");
}

std::string HereJson(std::string_view vcpus, const absl::Status& status) {
  std::string json =
      absl::StrCat("{\"vcpus\":", Quoted(vcpus), ",\"works\":", Bool(status.ok()));
  if (!status.ok()) absl::StrAppend(&json, ",\"why\":", Quoted(status.message()));
  return json + "}";
}

template <typename T, typename F>
std::string JsonArray(const std::vector<T>& items, F&& render) {
  std::string array = "[";
  for (size_t i = 0; i < items.size(); ++i)
    absl::StrAppend(&array, i == 0 ? "" : ",", render(items[i], i));
  return array + "]";
}

}  // namespace

std::string DoctorText(const DoctorReport& report) {
  std::string text = absl::StrCat("KVM (", report.kvm_path, ")\n");
  for (const DoctorCheck& check : report.checks) {
    absl::StrAppendFormat(&text, "  %-9s %s: %s",
                          check.ok         ? "ok"
                          : check.required ? "MISSING"
                                           : "without",
                          check.name, check.found);
    if (!check.ok && !check.advice.empty()) absl::StrAppend(&text, "  [", check.advice, "]");
    text += '\n';
  }
  absl::StrAppend(&text, "Hardware watchpoints, each tried with a known store of a small guest\n");
  if (report.self_test.ok()) {
    for (size_t i = 0; i < report.self_test->slots.size(); ++i) {
      const SelfTestSlot& slot = report.self_test->slots[i];
      absl::StrAppendFormat(
          &text, "  %-9s slot %d%s: %s", slot.outcome == SlotOutcome::kDelivers ? "ok" : "MISSING",
          i, i == 0 ? " (reserved for the exit-kind trigger)" : "", SlotOutcomeText(slot.outcome));
      if (!slot.detail.empty()) absl::StrAppend(&text, " (", slot.detail, ")");
      text += '\n';
    }
    absl::StrAppend(
        &text, "  tried in ",
        absl::FormatDuration(absl::Trunc(report.self_test->took, absl::Microseconds(100))), "\n");
  } else {
    absl::StrAppend(&text, "  MISSING   could not be tried: ", report.self_test.status().message(),
                    "\n");
  }
  absl::StrAppend(&text, "Debug plugins in this program\n");
  if (report.plugins.empty()) absl::StrAppend(&text, "  none\n");
  for (const DoctorPlugin& plugin : report.plugins) {
    absl::StrAppend(&text, "  ", plugin.name, ": ", WatchCount(plugin.capabilities),
                    plugin.capabilities.has_reserved_slot ? " and a reserved slot" : "", "; ",
                    plugin.capabilities.lengths, "; ", plugin.capabilities.cost, "\n");
    if (plugin.on_one_vcpu == plugin.on_several_vcpus) {
      absl::StrAppend(&text, Here("here", plugin.on_one_vcpu));
    } else {
      absl::StrAppend(&text, Here("here with one vCPU", plugin.on_one_vcpu),
                      Here("here with several vCPUs", plugin.on_several_vcpus));
    }
  }
  absl::StrAppend(&text, "Routes by which scenarios can run\n");
  for (const DoctorRoute& route : report.routes) {
    absl::StrAppendFormat(&text, "  %-9s %s: %s\n", route.usable ? "ok" : "no", route.name,
                          route.detail);
  }
  return text;
}

std::string DoctorJson(const DoctorReport& report) {
  std::string json = absl::StrCat(
      "{\"schema\":\"watchsnap.doctor/1\",\"kvm\":{\"path\":", Quoted(report.kvm_path),
      ",\"ok\":", Bool(report.RequiredChecksOk()), ",\"checks\":",
      JsonArray(report.checks,
                [](const DoctorCheck& check, size_t) {
                  return absl::StrCat("{\"name\":", Quoted(check.name), ",\"ok\":", Bool(check.ok),
                                      ",\"required\":", Bool(check.required),
                                      ",\"found\":", Quoted(check.found),
                                      ",\"advice\":", Quoted(check.advice), "}");
                }),
      "},\"hw_watch\":{");
  if (report.self_test.ok()) {
    absl::StrAppend(
        &json, "\"ok\":", Bool(report.self_test->AllDeliver()),
        ",\"slots\":", JsonArray(report.self_test->slots, [](const SelfTestSlot& slot, size_t i) {
          return absl::StrCat("{\"slot\":", i, ",\"outcome\":", Quoted(OutcomeName(slot.outcome)),
                              ",\"detail\":", Quoted(slot.detail), "}");
        }));
  } else {
    absl::StrAppend(
        &json, "\"ok\":false,\"slots\":[],\"error\":", Quoted(report.self_test.status().message()));
  }
  absl::StrAppend(
      &json, "},\"plugins\":",
      JsonArray(report.plugins,
                [](const DoctorPlugin& plugin, size_t) {
                  const DebugCapabilities& can = plugin.capabilities;
                  return absl::StrCat(
                      "{\"name\":", Quoted(plugin.name), ",\"user_watches\":",
                      can.user_watches >= kUnlimitedWatches ? "null"
                                                            : absl::StrCat(can.user_watches),
                      ",\"reserved_slot\":", Bool(can.has_reserved_slot),
                      ",\"lengths\":", Quoted(can.lengths), ",\"cost\":", Quoted(can.cost),
                      ",\"here\":[", HereJson("one", plugin.on_one_vcpu), ",",
                      HereJson("several", plugin.on_several_vcpus), "]}");
                }),
      ",\"routes\":",
      JsonArray(report.routes,
                [](const DoctorRoute& route, size_t) {
                  return absl::StrCat("{\"name\":", Quoted(route.name),
                                      ",\"usable\":", Bool(route.usable),
                                      ",\"detail\":", Quoted(route.detail), "}");
                }),
      ",\"usable\":", Bool(report.AnyRouteUsable()), "}");
  return json;
}

}  // namespace watchsnap
