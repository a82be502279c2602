// Session: the moving parts of RunVmSession (see snapshot/vm_session.h), one object a run.
//
// Threads. Run's caller is the coordinating thread: registrations, captures that the guest asks for, and
// the end. The devices' thread decodes port 1 (ControlServer) and answers HELLO itself, which no watch
// precedes. vCPU threads lead freezes (FreezeCoordinator). The renderer writes reports.
#ifndef WATCHSNAP_SNAPSHOT_SESSION_SESSION_H_
#define WATCHSNAP_SNAPSHOT_SESSION_SESSION_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "debug/debug_device.h"
#include "debug/debug_dispatcher.h"
#include "debug/gdb_server/gdb_layer.h"
#include "debug/machine_debug_target.h"
#include "debug/symbols/kernel_symbols.h"
#include "devices/standard_devices.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/capture/evidence.h"
#include "snapshot/capture/freeze_coordinator.h"
#include "snapshot/capture/guest_clock.h"
#include "snapshot/capture/kernel_view.h"
#include "snapshot/capture/renderer.h"
#include "snapshot/evidence/evidence_parts.h"
#include "snapshot/parts/variables_part.h"
#include "snapshot/scx/exit_kind_trigger.h"
#include "snapshot/scx/failure_dump.h"
#include "snapshot/session/event_queue.h"
#include "snapshot/session/report_store.h"
#include "snapshot/vm_session.h"
#include "snapshot/wire/control_server.h"
#include "vmm/machine.h"

namespace watchsnap {

class Session {
 public:
  static absl::StatusOr<std::unique_ptr<Session>> Create(VmSessionConfig config);
  ~Session();

  absl::StatusOr<VmResult> Run();

 private:
  explicit Session(VmSessionConfig config) : config_(std::move(config)) {}
  absl::Status Init();
  absl::Status CreateMachine();
  absl::Status CreateDevice();
  ControlHandlers MakeHandlers();
  void Progress(std::string_view text);

  // Devices' thread.
  absl::StatusOr<HelloReply> OnHello(const Hello& hello);
  void OnConsole(std::string_view text);
  // Coordinating thread.
  absl::Status OnReady();
  // Arms the exit-kind trigger, or says why there is none.
  void ArmExitKindTrigger();
  // Arms `symbol`; the bridge has checked the cap.
  absl::Status ArmSymbol(std::string_view symbol);
  // Disarms a watch of the coordinator's table that asked for it, its budget being used up.
  void DisarmSpent(int index);
  // Refuses where the kernel is not known yet, or too many are named.
  absl::Status TakeVariables(absl::Span<const std::string> names,
                             absl::FunctionRef<absl::Status(VariablesPart&)> take);
  absl::Status IdentifyKernel(const Hello& hello);
  absl::StatusOr<GuestClock> MeasureClock(const Hello& hello);

  void WaitForEnd(VmResult& result);
  // One last capture of a guest that panicked, hangs or was interrupted.
  void CaptureFinal(const VmResult& result);
  // Of the renderer's thread: numbers, stores and writes the report.
  void Keep(absl::Span<RenderedReport> rendered);
  // Of a final capture: how the guest ended, and what it said last.
  void AddLastWords(Report& report);
  void Finish(VmResult& result);
  bool GuestPanicked();

  VmSessionConfig config_;
  EventQueue events_;
  std::shared_ptr<const KernelSymbols> symbols_;
  std::shared_ptr<ControlPort> control_port_;
  std::shared_ptr<SnapshotBridge> bridge_;
  DebugDispatcher dispatcher_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineDebugTarget> target_;
  std::unique_ptr<gdb::GdbLayer> gdb_;  // where config_ has a socket for it
  std::unique_ptr<DebugDevice> device_;
  std::unique_ptr<EvidencePool> pool_;
  std::unique_ptr<FreezeCoordinator> coordinator_;
  std::unique_ptr<ReportStore> reports_;
  std::unique_ptr<Renderer> renderer_;
  std::unique_ptr<ControlServer> control_;

  absl::Mutex mutex_;
  std::unique_ptr<KernelView> kernel_ ABSL_GUARDED_BY(mutex_);
  EvidenceParts parts_;
  std::unique_ptr<ExitKindTrigger> exit_kind_;
  int exit_kind_watch_ = -1;  // in the coordinator's table; set before the trigger is armed
  std::unique_ptr<FailureDumps> failure_dumps_;
  std::string exit_kind_state_ = "not armed: the guest did not come up";
  VariablesPart* variables_ ABSL_GUARDED_BY(mutex_) = nullptr;  // one of `parts_`
  absl::Status kernel_status_ ABSL_GUARDED_BY(mutex_) =
      absl::FailedPreconditionError("the guest has not said HELLO yet");
  bool hello_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time go_time_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::optional<GuestScenarioResult> scenario_ ABSL_GUARDED_BY(mutex_);
  std::string console_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> watch_index_ ABSL_GUARDED_BY(mutex_);
  std::string end_in_words_ ABSL_GUARDED_BY(mutex_);  // for the final capture
  // The coordinating thread's own:
  WatchOptions next_options_;  // for ArmSymbol
  std::map<int, WatchId> armed_;  // by index in the coordinator's table
  absl::Status refused_;       // of an initial watch
  bool ended_ = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SESSION_SESSION_H_
