// DebugDispatcher: what a machine calls at a debug exit; passes it to the debug plugin, and the
// plugin's hits to whoever wants them.
//
//   DebugDispatcher dispatcher;
//   config.observer = &dispatcher;                       // before Machine::Create
//   ... the device is made over the machine, the sink over the device ...
//   dispatcher.Connect(device.get(), &sink);             // before Machine::Start
//
// Threads: Connect before the machine starts; OnDebugExit on vCPU threads.
// Ownership: borrows both; they must outlive Machine::Stop.
#ifndef WATCHSNAP_DEBUG_DEBUG_DISPATCHER_H_
#define WATCHSNAP_DEBUG_DEBUG_DISPATCHER_H_

#include "debug/debug_device.h"
#include "debug/hit_sink.h"
#include "vmm/vcpu.h"

namespace watchsnap {

class DebugDispatcher : public VcpuExitObserver {
 public:
  // `sink` may be null: hits are then dropped.
  void Connect(DebugDevice* device, HitSink* sink) {
    device_ = device;
    sink_ = sink;
  }

  void OnDebugExit(Vcpu& vcpu, const kvm_debug_exit_arch& exit) override;

 private:
  DebugDevice* device_ = nullptr;
  HitSink* sink_ = nullptr;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DEBUG_DISPATCHER_H_
