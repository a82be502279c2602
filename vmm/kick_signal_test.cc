#include "vmm/kick_signal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace watchsnap {
namespace {

int handled = 0;

bool Pending(int signal) {
  sigset_t set;
  sigpending(&set);
  return sigismember(&set, signal) == 1;
}

class KickSignalTest : public testing::Test {
 protected:
  KickSignalTest() {
    struct sigaction action = {};
    action.sa_handler = [](int) { ++handled; };
    sigaction(kSignal, &action, nullptr);
    pthread_sigmask(SIG_SETMASK, nullptr, &before_);
    handled = 0;
  }
  ~KickSignalTest() override { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  const int kSignal = SIGRTMIN + 4;
  KickSignal kick_{kSignal};
  sigset_t before_;
};

TEST_F(KickSignalTest, WithoutAMaskTheHandlerRuns) {
  kick_.Adopt(/*vcpu_fd=*/-1);
  kick_.Send();
  EXPECT_EQ(handled, 1);
  kick_.Take();
  EXPECT_FALSE(Pending(kSignal));
}

TEST_F(KickSignalTest, EndsKvmRunAndIsTakenOffWithoutItsHandler) {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  ASSERT_GE(kvm, 0);
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  ASSERT_GE(vm, 0);
  // Without memory some KVMs refuse to run before they look for signals.
  void* memory = mmap(nullptr, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  kvm_userspace_memory_region region = {};
  region.memory_size = 1 << 16;
  region.userspace_addr = reinterpret_cast<uint64_t>(memory);
  ASSERT_EQ(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
  const int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  ASSERT_GE(vcpu, 0);
  kick_.Adopt(vcpu);
  kick_.Send();
  EXPECT_TRUE(Pending(kSignal));
  ASSERT_EQ(ioctl(vcpu, KVM_RUN, 0), -1);
  ASSERT_EQ(errno, EINTR);
  EXPECT_TRUE(Pending(kSignal)) << "the kernel does not take it off";
  kick_.Take();
  EXPECT_FALSE(Pending(kSignal));
  EXPECT_EQ(handled, 0);
  for (const int fd : {vcpu, vm, kvm}) close(fd);
  munmap(memory, 1 << 16);
}

}  // namespace
}  // namespace watchsnap
