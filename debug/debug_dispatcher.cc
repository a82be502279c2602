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
  Deliver(vcpu.index(), hits);
}

void DebugDispatcher::Deliver(int vcpu, WatchHits& hits) {
  while (hits.count > 0) {
    if (sink_ != nullptr) sink_->OnHits(vcpu, hits);
    hits.count = 0;
    device_->MoreHits(vcpu, hits);
  }
}

bool DebugDispatcher::OnMmio(Vcpu& vcpu, uint64_t gpa, absl::Span<uint8_t> data, bool is_write) {
  if (device_ == nullptr) return false;
  switch (device_->OnMmio(vcpu.index(), gpa, data, is_write)) {
    case MmioAnswer::kNotMine: return false;
    case MmioAnswer::kServed: return true;
    case MmioAnswer::kServedTellWhenComplete: vcpu.TellWhenComplete(); return true;
  }
  return false;
}

void DebugDispatcher::OnMmioComplete(Vcpu& vcpu) {
  WatchHits hits;
  device_->OnMmioComplete(vcpu.index(), hits);
  Deliver(vcpu.index(), hits);
}

bool DebugDispatcher::OnMemoryFault(Vcpu& vcpu) {
  if (device_ == nullptr) return false;
  WatchHits hits;
  const bool mended = device_->OnMemoryFault(vcpu.index(), hits);
  Deliver(vcpu.index(), hits);
  return mended;
}

bool DebugDispatcher::OnInternalError(Vcpu& vcpu, std::string& explanation) {
  if (device_ == nullptr) return false;
  WatchHits hits;
  const bool mended = device_->OnInternalError(vcpu.index(), hits, explanation);
  Deliver(vcpu.index(), hits);
  return mended;
}

}  // namespace watchsnap
