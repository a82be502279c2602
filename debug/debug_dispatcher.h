// DebugDispatcher: what a machine calls at a debug exit, and at others that a debug plugin may want;
// passes them to the plugin, and the plugin's hits to whoever wants them.
//
//   DebugDispatcher dispatcher;
//   config.observer = &dispatcher;                       // before Machine::Create
//   ... the device is made over the machine, the sink over the device ...
//   dispatcher.Connect(device.get(), &sink);             // before Machine::Start
//
// A DebugLayer, if there is one, sees each debug exit first.
//
// Threads: Connect and SetLayer before the machine starts; the rest on vCPU threads.
// Ownership: borrows them; they must outlive Machine::Stop.
#ifndef WATCHSNAP_DEBUG_DEBUG_DISPATCHER_H_
#define WATCHSNAP_DEBUG_DEBUG_DISPATCHER_H_

#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "debug/debug_device.h"
#include "debug/hit_sink.h"
#include "vmm/vcpu.h"

namespace watchsnap {

// What sees debug exits before the plugin: a debugger's breakpoints and single steps are no watch's.
class DebugLayer {
 public:
  virtual ~DebugLayer() = default;
  // On the vCPU's thread. False: the exit was all this layer's. Else it goes to the plugin, without the
  // causes (bits of DR6) that were this layer's and have been taken out.
  virtual bool OnDebugExit(int vcpu, kvm_debug_exit_arch& exit) = 0;
};

class DebugDispatcher : public VcpuExitObserver {
 public:
  // `sink` may be null: hits are then dropped.
  void Connect(DebugDevice* device, HitSink* sink) {
    device_ = device;
    sink_ = sink;
  }

  void SetLayer(DebugLayer* layer) { layer_ = layer; }

  void OnDebugExit(Vcpu& vcpu, const kvm_debug_exit_arch& exit) override;
  bool OnMmio(Vcpu& vcpu, uint64_t gpa, absl::Span<uint8_t> data, bool is_write) override;
  void OnMmioComplete(Vcpu& vcpu) override;
  bool OnMemoryFault(Vcpu& vcpu) override;
  bool OnInternalError(Vcpu& vcpu, std::string& explanation) override;

 private:
  // Passes on `hits` and all that are still to come.
  void Deliver(int vcpu, WatchHits& hits);

  DebugLayer* layer_ = nullptr;
  DebugDevice* device_ = nullptr;
  HitSink* sink_ = nullptr;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DEBUG_DISPATCHER_H_
