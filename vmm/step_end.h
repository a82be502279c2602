// How a single step of a vCPU ended (Vcpu::Step).
#ifndef WATCHSNAP_VMM_STEP_END_H_
#define WATCHSNAP_VMM_STEP_END_H_

namespace watchsnap {

enum class StepEnd {
  kStepped,      // one instruction (of a repeated one: one iteration), or the delivery of an exception
  kMemoryFault,  // nothing happened: EFAULT, as in VcpuExitObserver::OnMemoryFault
  kOtherExit,    // something else; the vCPU's loop handles it once its observer has returned
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_STEP_END_H_
