// VmSession: one run of a Linux guest with watches, from boot to sidecars. What the `watchsnap` program
// and the scenario tests both are made of: machine + standard devices + debug plugin + freeze
// coordinator + control channel + bridge.
//
//   VmSessionConfig config{.test_name = "demo", .vmlinux_path = …, .initrd = …, .watches = {"jiffies_64"}};
//   absl::StatusOr<VmResult> result = RunVmSession(config);
//
// How it goes: the kernel boots; the guest's first program says HELLO over the control port (port 1);
// the KASLR slide is measured, the build ID compared, `watches` are armed; the guest gets its go. From then
// `duration` runs. The end: the guest powers off, `duration` or `boot_timeout` passes, a watch is
// refused, or `interrupt` fires. Of a guest that ends in another way than by power-off or at its time, one
// last capture is taken (tag kFinalTag, kind `final`), with the tail of the console.
//
// Threads: RunVmSession blocks its caller. Callbacks come on threads of the session and must be short.
// Errors: a Status where the run could not be had at all (host, files, a refused initial watch); what the guest
// did wrong is in VmResult::end. The status of a refused watch keeps the exact message of the refusal.
#ifndef WATCHSNAP_SNAPSHOT_VM_SESSION_H_
#define WATCHSNAP_SNAPSHOT_VM_SESSION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/report/report.h"
#include "snapshot/watch_options.h"
#include "snapshot/wire/control_server.h"
#include "snapshot/wire/messages.h"
#include "vmm/boot/cpu_topology.h"
#include "vmm/run_end.h"

namespace watchsnap {

inline constexpr std::string_view kFinalTag = "final";
// The tag of failure dumps on the bridge.
inline constexpr std::string_view kExitKindTag = "exit_kind";

struct VmSessionConfig {
  std::string test_name = "run";
  std::string sidecar_dir;   // empty: no sidecars
  std::string vmlinux_path;  // ELF with symbols, the same build as the kernel that runs
  std::string kernel_path;   // bzImage or ELF; empty: vmlinux_path itself is booted
  std::vector<uint8_t> initrd;
  int vcpus = 1;
  std::optional<CpuTopology> topology;  // replaces `vcpus`
  uint64_t memory_bytes = 512ull << 20;
  std::string append;        // further kernel command line
  std::string debug_plugin = "hw_watch";
  // Path of the Unix socket where gdb may attach; empty: no gdb. While gdb has stopped the guest,
  // `duration` and `boot_timeout` go on.
  std::string gdb_socket;
  // Armed before the guest gets its go; a refusal ends the run with that status.
  std::vector<std::string> watches;
  WatchOptions watch_options;
  // Kernel variables that every capture takes along; an unknown one ends the run like a refused watch.
  std::vector<std::string> variables;
  absl::Duration boot_timeout = absl::Seconds(60);  // to HELLO
  absl::Duration duration = absl::InfiniteDuration();  // from the go
  // Whether the guest is expected to end by itself before `duration`: then passing it is a hang, of which
  // a final capture is taken.
  bool duration_is_deadline = false;
  // For the bytes of captures that wait to be rendered, beyond registers and stacks.
  size_t evidence_ring_bytes = 8 << 20;
  // Sent to the guest in HELLO_REPLY.
  std::map<std::string, std::string> guest_parameters;

  std::function<void(std::string_view)> console_sink;        // hvc0 and the UART, as they come
  std::function<void(std::string_view)> on_progress;         // "kernel up after 4.1 s", "watch armed: …"
  std::function<void(const Report&)> on_report;              // on the renderer's thread, in order
  // There, after the last of those that came together: the moment to flush what on_report wrote.
  std::function<void()> on_reports_end;
  // Whether the bridge keeps captures until the end. false: on_report and the sidecars are all that has them, and a run may
  // take any number of captures in constant memory.
  bool keep_reports = true;
  // An eventfd that ends the run as interrupted when it becomes readable; -1: none. Stays the caller's.
  int interrupt_fd = -1;
};

// What a scenario in the guest said of itself.
struct GuestScenarioResult {
  bool passed = false;
  std::vector<std::string> details;
  std::vector<WorkerReport> workers = {};  // of all steps, in the order they ended
};

struct VmResult {
  RunEnd end;
  bool reached_hello = false;
  // The guest was stopped because VmSessionConfig::duration had passed; `end` is then kDeadline.
  bool duration_elapsed = false;
  std::shared_ptr<SnapshotBridge> snapshot_bridge;
  std::map<std::string, WatchCounters> watches;    // by symbol
  std::optional<GuestScenarioResult> scenario;     // absent: the guest never sent one
  std::vector<std::string> plugin_summary;         // what the debug plugin has to tell, as lines
  ControlCounters control;
  std::string console;                             // the whole of it
  std::vector<std::string> sidecars;               // paths
  std::vector<std::string> failure_dumps;          // paths, one a sched_ext scheduler that failed
  // What became of the exit-kind trigger: "armed on scx_root", or why there is none.
  std::string exit_kind_trigger;
  uint64_t kaslr_slide = 0;
  std::string kernel_build_id;                     // hex
};

absl::StatusOr<VmResult> RunVmSession(VmSessionConfig config);

// Why RunVmSession returned this status.
enum class SessionFailure {
  kInput,         // a file or an option is wrong
  kHost,          // this host lacks something: KVM, memory, a plugin
  kWatchRefused,  // an initial watch: symbol, alignment, slots, another build, or a host that never delivers
};
SessionFailure SessionFailureOf(const absl::Status& status);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_VM_SESSION_H_
