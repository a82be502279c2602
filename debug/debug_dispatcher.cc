#include "debug/debug_dispatcher.h"

#include "absl/log/log.h"

namespace watchsnap {

void DebugDispatcher::OnDebugExit(Vcpu& vcpu, const kvm_debug_exit_arch& from_kvm) {
  kvm_debug_exit_arch exit = from_kvm;
  if (layer_ != nullptr && !layer_->OnDebugExit(vcpu.index(), exit)) return;
  if (device_ == nullptr) {
    LOG_FIRST_N(WARNING, 1) << "vCPU " << vcpu.index()
                            << ": a debug exit, but no debug plugin is connected; dropped";
    return;
  }
  WatchHits hits;
  device_->OnExit(vcpu.index(), exit, hits);
  if (hits.count > 0 && sink_ != nullptr) sink_->OnHits(vcpu.index(), hits);
}

}  // namespace watchsnap
