// Debugger: what a debugger does to a machine, whatever protocol it speaks: stop and continue all vCPUs or
// single ones, step, breakpoints, watches, memory, registers.
//
// Stopping is *holding* (RunControl): it is no freeze, so that captures, arming and the end of the run go
// on as ever while a person looks at a stopped guest. A vCPU that meets something of the debugger's has all
// vCPUs held at once, on its own thread; the debugger's thread learns of it through `stop_fd`.
//
//   debugger.Attach();                                    // all vCPUs are out of the guest
//   debugger.AddBreakpoint(BreakpointType::kHardware, address, 1);
//   debugger.Run(actions);
//   ... poll(debugger.stop_fd()) ...
//   if (std::optional<Stop> stop = debugger.TakeStop()) ...  // all vCPUs are out again
//   debugger.Detach();                                    // nothing of it is left, the guest runs
//
// Threads: one debugger's thread for all but OnDebugExit, OnDebuggerHit and OnHits, which come on vCPU
// threads.
// Memory, registers, breakpoints: only while stopped.
// Ownership: borrows all it is given; it must outlive the vCPUs.
// Errors: those of the plugin (watches), of the composer (hardware breakpoints), NotFound for memory.
//
// Of several vCPUs that stop at the same time one is told. A watch's hit of another is told at the next
// Run, before anything runs; a breakpoint is met again, for its instruction has not been executed.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_DEBUGGER_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_DEBUGGER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "debug/debug_dispatcher.h"
#include "debug/gdb_server/commands.h"
#include "debug/gdb_server/guest_code.h"
#include "debug/gdb_server/guest_debug_composer.h"
#include "debug/gdb_server/run_control.h"
#include "debug/gdb_server/shared_watches.h"
#include "debug/hit_sink.h"

namespace watchsnap::gdb {

struct Stop {
  enum Kind { kInterrupted, kSoftwareBreakpoint, kHardwareBreakpoint, kWatch, kStep } kind;
  int vcpu = 0;
  uint64_t address = 0;  // of the watch
};

class Debugger : public DebugLayer, public SharedWatches::Listener, public HitSink {
 public:
  // `software_breakpoints_work` is asked when the first is wanted: whether this host's KVM really hands
  // breakpoint instructions to us. Where it does not, the guest's kernel would get them, and die of them:
  // hardware breakpoints serve then, as far as there are debug registers for them.
  Debugger(GuestDebugComposer* composer, RunControl* run_control,
           std::function<bool()> software_breakpoints_work);
  ~Debugger() override;
  // Once, before the machine starts.
  void SetWatches(SharedWatches* watches) { watches_ = watches; }
  // Once, before the machine starts: who is told of the session's hits. They pass through here, so that a
  // stop is told only when the captures of that moment have been taken.
  void SetSink(HitSink* sink) { sink_ = sink; }

  int vcpu_count() const { return composer_.vcpu_count(); }
  // Becomes readable when a vCPU has stopped.
  int stop_fd() const { return stop_fd_; }

  absl::Status Attach();
  // Also while the guest runs. What could not be removed is in the status; the guest runs on in any case.
  absl::Status Detach();
  // One action for each vCPU; those that stay are not released.
  absl::Status Run(absl::Span<const RunAction> actions);
  // Stops all vCPUs; what one of them met at that moment is the stop, else kInterrupted.
  Stop Interrupt();
  // Why the machine has stopped, or nothing where it has not.
  std::optional<Stop> TakeStop();

  const VcpuRegisters& Registers(int vcpu) { return composer_.Registers(vcpu); }
  absl::Status SetRegisters(int vcpu, const VcpuRegisters& registers, bool general, bool special);
  GuestCode& memory() { return code_; }

  // `length` is a watch's. Unimplemented for kinds of watch that no plugin has.
  absl::Status AddBreakpoint(int vcpu, BreakpointType type, uint64_t address, uint32_t length);
  absl::Status RemoveBreakpoint(BreakpointType type, uint64_t address, uint32_t length);

  // DebugLayer, SharedWatches::Listener and HitSink.
  bool OnDebugExit(int vcpu, kvm_debug_exit_arch& exit) override;
  void OnDebuggerHit(const WatchHit& hit) override;
  void OnHits(int vcpu, const WatchHits& hits) override;

 private:
  using WatchKey = std::pair<uint64_t, uint32_t>;  // address, length
  struct VcpuState {
    bool running = false;  // by the last Run
    std::optional<Stop> pending;
  };

  void Record(const Stop& stop) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HoldAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReleaseAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits until all held vCPUs are out of the guest, their registers saved and their hits captured.
  absl::Status Settle();
  void ForgetNotice();
  // The stop to tell: of a vCPU that was to run.
  std::optional<Stop> TakePending() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status RemoveAll();
  // `type` is what gdb asked for: kSoftware or kHardware.
  absl::Status AddHardware(uint64_t address, BreakpointType type);
  absl::Status RemoveHardware(uint64_t address, BreakpointType type);
  // Hides a stop from the guest's clocks, at its end: they go on from where the last freeze ended.
  absl::Status HideStop() {
    return composer_.WhileFrozen([] { return absl::OkStatus(); });
  }

  GuestDebugComposer& composer_;
  RunControl& run_control_;
  SharedWatches* watches_ = nullptr;
  HitSink* sink_ = nullptr;
  GuestCode code_;
  int stop_fd_ = -1;
  const std::function<bool()> software_breakpoints_work_;
  std::map<WatchKey, WatchId> armed_;  // the debugger's thread's own
  // Taken by vCPU threads. Holding and releasing happen under it, so that a vCPU that is being released
  // cannot miss that another has stopped.
  absl::Mutex mutex_;
  bool attached_ ABSL_GUARDED_BY(mutex_) = false;
  int deliveries_ ABSL_GUARDED_BY(mutex_) = 0;  // vCPUs that are in sink_->OnHits
  std::vector<VcpuState> vcpus_ ABSL_GUARDED_BY(mutex_);
  // The composer's breakpoints, and the types that gdb wanted there, as bits.
  std::map<uint64_t, unsigned> hardware_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_DEBUGGER_H_
