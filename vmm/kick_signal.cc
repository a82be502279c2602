#include "vmm/kick_signal.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace watchsnap {
namespace {

// struct kvm_signal_mask with its array, as the kernel lays it out; in C++ <linux/kvm.h> makes the array's offset, and with it
// the ioctl's number, another one (vmm/kvm_flexible.h, which is for arrays behind 8 bytes).
struct __attribute__((packed)) SignalMask {
  uint32_t length = sizeof(uint64_t);
  uint64_t signals = 0;
};
constexpr unsigned long kKvmSetSignalMask = _IOC(_IOC_WRITE, KVMIO, 0x8b, sizeof(uint32_t));

}  // namespace

KickSignal::KickSignal(int signal) : signal_(signal), process_(getpid()) {
  sigemptyset(&set_);
  sigaddset(&set_, signal);
}

void KickSignal::Adopt(int vcpu_fd) {
  sigset_t in_guest;
  pthread_sigmask(SIG_BLOCK, &set_, &in_guest);
  sigdelset(&in_guest, signal_);
  SignalMask mask;
  // glibc's sigset_t begins with the kernel's: signal n is bit n - 1.
  std::memcpy(&mask.signals, &in_guest, sizeof mask.signals);
  blocked_ = ioctl(vcpu_fd, kKvmSetSignalMask, &mask) == 0;
  if (!blocked_) pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  thread_.store(static_cast<pid_t>(syscall(SYS_gettid)));
}

void KickSignal::Send() {
  // Not pthread_kill: it makes four system calls of this one.
  syscall(SYS_tgkill, process_, thread_.load(std::memory_order_relaxed), signal_);
}

void KickSignal::Take() {
  if (!blocked_) return;
  constexpr timespec kNow = {};
  sigtimedwait(&set_, nullptr, &kNow);
}

}  // namespace watchsnap
