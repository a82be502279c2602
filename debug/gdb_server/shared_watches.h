// SharedWatches: one debug plugin, two users of its watches: the session (a user's watches, the exit-kind
// trigger) and a debugger. It is the plugin to the session, and hands the debugger's hits to a listener.
//
// The plugin's slots are shared honestly: who comes last and finds none free gets the plugin's error. A
// watch that one of the two has armed already, of the same place and length, serves both: each hit then is
// a capture *and* stops the debugger. What merely overlaps another's watch is refused, as the plugin does.
//
// Threads: as DebugDevice says; ArmForDebugger and DisarmForDebugger like Arm.
// Ownership: owns the plugin; borrows the listener, which outlives the vCPUs.
// Errors: the plugin's; NotFound for a watch that the caller did not arm.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_SHARED_WATCHES_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_SHARED_WATCHES_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "debug/debug_device.h"

namespace watchsnap::gdb {

class SharedWatches : public DebugDevice {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // On the thread of the vCPU that hit, outside the guest. Must not wait.
    virtual void OnDebuggerHit(const WatchHit& hit) = 0;
  };

  SharedWatches(std::unique_ptr<DebugDevice> plugin, Listener* listener)
      : plugin_(std::move(plugin)), listener_(*listener) {}

  absl::StatusOr<WatchId> ArmForDebugger(uint64_t address, uint32_t length);
  absl::Status DisarmForDebugger(WatchId watch);

  // DebugDevice.
  std::string_view Name() const override { return plugin_->Name(); }
  DebugCapabilities Capabilities() const override { return plugin_->Capabilities(); }
  absl::StatusOr<WatchId> Arm(const WatchSpec& spec) override { return ArmFor(kSession, spec); }
  absl::Status Disarm(WatchId watch) override { return DisarmFor(kSession, watch); }
  absl::Status Retarget(WatchId watch, uint64_t address, uint32_t length) override;
  void OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) override;
  absl::Status TryHost(int vcpus) override { return plugin_->TryHost(vcpus); }
  MmioAnswer OnMmio(int vcpu, uint64_t gpa, absl::Span<uint8_t> data, bool is_write) override {
    return plugin_->OnMmio(vcpu, gpa, data, is_write);
  }
  void OnMmioComplete(int vcpu, WatchHits& hits) override;
  bool OnMemoryFault(int vcpu, WatchHits& hits) override;
  bool OnInternalError(int vcpu, WatchHits& hits, std::string& explanation) override;
  void MoreHits(int vcpu, WatchHits& hits) override;
  std::vector<std::string> Summary() override { return plugin_->Summary(); }

 private:
  enum Owner : unsigned { kSession = 1, kDebugger = 2 };
  struct Watch {
    WatchId id = kNoWatch;
    uint64_t address = 0;
    uint32_t length = 0;
    bool reserved_slot = false;
    unsigned owners = 0;
  };

  absl::StatusOr<WatchId> ArmFor(Owner owner, const WatchSpec& spec);
  absl::Status DisarmFor(Owner owner, WatchId watch);
  // Tells the listener of what is the debugger's, and leaves in `hits` what is the session's.
  void ShareOut(int vcpu, WatchHits& hits);
  void KeepTheSessions(WatchHits& hits);

  const std::unique_ptr<DebugDevice> plugin_;
  Listener& listener_;
  absl::Mutex arm_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  // Held for a few memory accesses only: vCPU threads take it.
  absl::Mutex mutex_;
  std::vector<Watch> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_SHARED_WATCHES_H_
