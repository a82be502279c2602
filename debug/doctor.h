// The doctor: what this host can do for watchsnap, tried rather than guessed. `watchsnap doctor`
// prints it.
//
//   DoctorReport report = RunDoctor();
//   report.routes.push_back({"emulated", usable, detail});   // whoever knows about other routes
//   std::cout << DoctorText(report);
//
// A route is a way to run a scenario: "direct" (this host's KVM) is judged here; the emulated host
// is the program's to add, since this folder does not know of it.
// Threads: RunDoctor on any thread; takes milliseconds (bounded by the self-test's deadline).
// Errors: none; what is missing is a finding, with what to do about it.
#ifndef WATCHSNAP_DEBUG_DOCTOR_H_
#define WATCHSNAP_DEBUG_DOCTOR_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "debug/debug_device.h"
#include "debug/hw_watch/self_test.h"

namespace watchsnap {

struct DoctorCheck {
  std::string name;  // "KVM_CAP_IRQFD"
  bool ok = false;
  bool required = true;
  std::string found;   // "4096"
  std::string advice;  // what it is for, or what to do; shown where it is not ok
};

struct DoctorPlugin {
  std::string name;
  DebugCapabilities capabilities;
  // Whether it works on this host, as DebugDevice::TryHost found.
  absl::Status on_one_vcpu;
  absl::Status on_several_vcpus;
};

struct DoctorRoute {
  std::string name;  // "direct", "emulated"
  bool usable = false;
  std::string detail;
};

struct DoctorReport {
  std::string kvm_path;
  std::vector<DoctorCheck> checks;
  absl::StatusOr<SelfTestResult> self_test;  // of the hardware watchpoints
  std::vector<DoctorPlugin> plugins;         // what this program has linked in
  std::vector<DoctorRoute> routes;

  bool RequiredChecksOk() const;
  // Whether scenarios can run here by any route.
  bool AnyRouteUsable() const;
};

DoctorReport RunDoctor(const std::string& kvm_path = "/dev/kvm");

// For people; ends in a newline. A slot that accepts and does not deliver is shown with the words
// "never delivers".
std::string DoctorText(const DoctorReport& report);
// One JSON object:
// {"schema":"watchsnap.doctor/1",
//  "kvm":{"path":…,"ok":…,"checks":[{"name","ok","required","found","advice"}]},
//  "hw_watch":{"ok":…,"slots":[{"slot","outcome","detail"}],"error":… (only where not tried)},
//  "plugins":[{"name","user_watches" (null: no bound),"reserved_slot","lengths","cost",
//              "here":[{"vcpus":"one"|"several","works","why" (where it does not)}]}],
//  "routes":[{"name","usable","detail"}],"usable":…}
// outcome: "delivers", "never delivers", "misdelivers" or "refuses".
std::string DoctorJson(const DoctorReport& report);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DOCTOR_H_
