// A guest of a few instructions on /dev/kvm stores to a word that a debug register watches. Passes
// where each store is delivered; on a host that accepts the watch and never delivers it, fails.

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "testing/kvm_host/launcher.h"

namespace watchsnap {
namespace {

constexpr size_t kMemorySize = 1 << 20;
constexpr uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000;
constexpr uint64_t kCode = 0x10000, kWatched = 0x20000;
constexpr int kSlot = 1;

// movabs $kWatched, %rdi; again: incl (%rdi); out %al, $0x10; jmp again
constexpr uint8_t kGuest[] = {0x48,
                              0xbf,
                              kWatched & 0xff,
                              (kWatched >> 8) & 0xff,
                              kWatched >> 16,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0xff,
                              0x07,
                              0xe6,
                              0x10,
                              0xeb,
                              0xfa};
constexpr uint64_t kAfterStore = kCode + 12;

class DataWatchpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    kvm_ = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    ASSERT_GE(kvm_, 0) << "/dev/kvm: " << strerror(errno);
    vm_ = ioctl(kvm_, KVM_CREATE_VM, 0);
    ASSERT_GE(vm_, 0) << strerror(errno);
    memory_ = static_cast<uint8_t*>(
        mmap(nullptr, kMemorySize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(memory_, MAP_FAILED);
    kvm_userspace_memory_region region = {};
    region.memory_size = kMemorySize;
    region.userspace_addr = reinterpret_cast<uint64_t>(memory_);
    ASSERT_EQ(ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region), 0) << strerror(errno);
    vcpu_ = ioctl(vm_, KVM_CREATE_VCPU, 0);
    ASSERT_GE(vcpu_, 0) << strerror(errno);
    const int size = ioctl(kvm_, KVM_GET_VCPU_MMAP_SIZE, 0);
    run_ = static_cast<kvm_run*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_, 0));
    ASSERT_NE(run_, MAP_FAILED);
    EnterLongMode();
  }

  // 64-bit mode with the first 2 MB mapped onto themselves.
  void EnterLongMode() {
    constexpr uint64_t kPresentWritable = 3, kLargePage = 0x80;
    Put(kPml4, kPdpt | kPresentWritable);
    Put(kPdpt, kPd | kPresentWritable);
    Put(kPd, kLargePage | kPresentWritable);
    memcpy(memory_ + kCode, kGuest, sizeof(kGuest));
    kvm_sregs sregs;
    ASSERT_EQ(ioctl(vcpu_, KVM_GET_SREGS, &sregs), 0);
    sregs.cr0 = 0x80000011;  // PG, ET, PE
    sregs.cr3 = kPml4;
    sregs.cr4 = 0x20;    // PAE
    sregs.efer = 0x500;  // LMA, LME
    kvm_segment code = {};
    code.limit = 0xffffffff;
    code.selector = 8;
    code.type = 11;
    code.present = code.s = code.l = code.g = 1;
    sregs.cs = code;
    kvm_segment data = code;
    data.type = 3;
    data.selector = 16;
    data.l = 0;
    data.db = 1;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    ASSERT_EQ(ioctl(vcpu_, KVM_SET_SREGS, &sregs), 0) << strerror(errno);
    kvm_regs regs = {};
    regs.rip = kCode;
    regs.rflags = 2;
    ASSERT_EQ(ioctl(vcpu_, KVM_SET_REGS, &regs), 0) << strerror(errno);
  }

  void Put(uint64_t address, uint64_t value) { memcpy(memory_ + address, &value, sizeof(value)); }
  uint32_t Watched() const {
    uint32_t value;
    memcpy(&value, memory_ + kWatched, sizeof(value));
    return value;
  }

  int kvm_ = -1, vm_ = -1, vcpu_ = -1;
  uint8_t* memory_ = nullptr;
  kvm_run* run_ = nullptr;
};

TEST_F(DataWatchpointTest, EveryStoreIsDelivered) {
  EXPECT_TRUE(InsideKvmHost());
  kvm_guest_debug debug = {};
  debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  debug.arch.debugreg[kSlot] = kWatched;
  // LE and GE; the slot enabled; write of 4 bytes.
  debug.arch.debugreg[7] = 0x300 | (3u << (2 * kSlot)) | (0xdu << (16 + 4 * kSlot));
  ASSERT_EQ(ioctl(vcpu_, KVM_SET_GUEST_DEBUG, &debug), 0) << strerror(errno);
  uint32_t hits = 0, outs = 0;
  while (outs < 1000) {
    ASSERT_EQ(ioctl(vcpu_, KVM_RUN, 0), 0) << strerror(errno);
    if (run_->exit_reason == KVM_EXIT_DEBUG) {
      ++hits;
      EXPECT_EQ(Watched(), hits);
      EXPECT_EQ(run_->debug.arch.pc, kAfterStore);
      EXPECT_TRUE(run_->debug.arch.dr6 & (1u << kSlot));
    } else {
      ASSERT_EQ(run_->exit_reason, static_cast<uint32_t>(KVM_EXIT_IO));
      ++outs;
    }
  }
  EXPECT_EQ(hits, 1000u);
}

}  // namespace
}  // namespace watchsnap
