// KickSignal: the signal that brings a vCPU's thread out of KVM_RUN.
//
// The thread keeps it blocked, and KVM lets it through only while KVM_RUN runs (KVM_SET_SIGNAL_MASK): it ends the
// call with EINTR, stays pending and is taken off by a system call. No handler runs. A handler costs a signal frame
// with all the processor's registers and the return from it, between a freeze's kick and the vCPU's parking: fifteen
// times as much in the emulated host, where that was a fifth of a freeze of two vCPUs.
//
// Where KVM refuses the mask the signal is unblocked and its (empty) handler runs: nothing else changes.
//
// Threads: Adopt and Take on the vCPU's own thread; Send on any, once Adopt has returned; after that thread's
// end it does nothing.
// Source: Documentation/virt/kvm/api.rst, KVM_SET_SIGNAL_MASK.
#ifndef WATCHSNAP_VMM_KICK_SIGNAL_H_
#define WATCHSNAP_VMM_KICK_SIGNAL_H_

#include <signal.h>
#include <sys/types.h>

#include <atomic>

namespace watchsnap {

class KickSignal {
 public:
  explicit KickSignal(int signal);
  // Before the first KVM_RUN of the vCPU whose thread this is. The signal has a handler that does nothing.
  void Adopt(int vcpu_fd);
  void Send();
  // After a KVM_RUN during which the signal may have come: takes off one. A second one, of who kicked again, ends the
  // next KVM_RUN at once.
  void Take();

 private:
  const int signal_;
  sigset_t set_;
  const pid_t process_;
  std::atomic<pid_t> thread_{0};
  bool blocked_ = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_KICK_SIGNAL_H_
