// What the conformance tests share: the plugin under test on a machine with a bare guest, and a sink
// that keeps its hits.
//
//   auto setup = PluginMachine::Make(guest.boot, vcpus, &recorder);
//   ASSERT_NE(setup, nullptr);
//   ASSERT_THAT(setup->device().Arm({...}), IsOk());
//   ASSERT_NO_FATAL_FAILURE(setup->RunToPowerOff());
//
// Threads: the test's; Recorder takes hits from any vCPU. Errors: as failures of the test.
#ifndef WATCHSNAP_DEBUG_CONFORMANCE_HARNESS_H_
#define WATCHSNAP_DEBUG_CONFORMANCE_HARNESS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "debug/debug_device.h"
#include "debug/debug_dispatcher.h"
#include "debug/hit_sink.h"
#include "debug/machine_debug_target.h"
#include "testing/bare_guest/bare_guests.h"
#include "vmm/machine.h"

namespace watchsnap::conformance {

// What the suite runs with; set once, before the tests (main.cc: --plugin and --vcpus).
struct Subject {
  std::string plugin;
  int vcpus = 1;
};
Subject& TheSubject();

class Recorder : public HitSink {
 public:
  void OnHits(int vcpu, const WatchHits& hits) override;
  size_t count() const;
  // Of one watch, or of one vCPU.
  size_t CountOf(WatchId watch) const;
  size_t CountOnVcpu(int vcpu) const;
  std::vector<WatchHit> hits() const;

 private:
  mutable absl::Mutex mutex_;
  std::vector<WatchHit> hits_ ABSL_GUARDED_BY(mutex_);
};

class PluginMachine {
 public:
  // Nullptr, and failures of the test, where it cannot be made. `sink` may be null and outlives it.
  static std::unique_ptr<PluginMachine> Make(const BareBoot& boot, int vcpus, HitSink* sink);
  ~PluginMachine();

  Machine& machine() { return *machine_; }
  MachineDebugTarget& target() { return *target_; }
  DebugDevice& device() { return *device_; }

  // Fatal failures of the test where the guest ends otherwise.
  void RunToPowerOff();
  // Starts a vCPU that waits for it, at `entry`, as vCPU 0 is set up. Fatal failures of the test.
  void StartVcpu(int vcpu, uint64_t entry);
  uint64_t Word(uint64_t va);
  void SetWord(uint64_t va, uint32_t value);

 private:
  PluginMachine() = default;
  DebugDispatcher dispatcher_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineDebugTarget> target_;
  std::unique_ptr<DebugDevice> device_;
};

// Within a minute, looked at every millisecond.
bool Eventually(const std::function<bool()>& condition);

// What the plugin under test says of itself.
DebugCapabilities SubjectCapabilities();
// How many user watches a test of several arms: as many as the plugin has, at most `most`.
int WatchesToUse(int most);

}  // namespace watchsnap::conformance

#endif  // WATCHSNAP_DEBUG_CONFORMANCE_HARNESS_H_
