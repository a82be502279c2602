// A machine made of notes under a real Debugger, with a real hw_watch: for tests of the debugger and of
// what speaks to gdb. The test plays the vCPUs.
//
// Threads: one, the test's.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_DEBUGGER_FAKE_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_DEBUGGER_FAKE_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "debug/debug_target_fake.h"
#include "debug/gdb_server/debugger.h"
#include "debug/gdb_server/run_control.h"
#include "debug/gdb_server/shared_watches.h"
#include "debug/hw_watch/hw_watch.h"

namespace watchsnap::gdb {

// Registers are kept in the DebugTargetFake.
class RunControlFake : public RunControl {
 public:
  explicit RunControlFake(DebugTargetFake* target) : target_(*target), held_(target->vcpu_count()) {}
  void Hold(int vcpu) override { held_[vcpu] = true; }
  void Release(int vcpu) override { held_[vcpu] = false; }
  absl::Status SetRegisters(int vcpu, const kvm_regs& regs) override {
    target_.saved_registers(vcpu).regs = regs;
    return absl::OkStatus();
  }
  absl::Status SetSpecialRegisters(int vcpu, const kvm_sregs& sregs) override {
    target_.saved_registers(vcpu).sregs = sregs;
    return absl::OkStatus();
  }

  const std::vector<bool>& held() const { return held_; }

 private:
  DebugTargetFake& target_;
  std::vector<bool> held_;
};

struct DebuggerFake {
  static constexpr uint64_t kData = 0xffffffff82000000;  // a page
  static constexpr uint64_t kCode = 0xffffffff81000000;  // two pages, of NOPs

  explicit DebuggerFake(int vcpus) : target(vcpus) {
    target.Map(kData, 4096);
    target.Map(kCode, 8192);
    for (int i = 0; i < 8192; ++i) target.Store<uint8_t>(kCode + i, 0x90);
    debugger.SetWatches(&watches);
  }

  // A debug exit of `vcpu`: #DB with `dr6`, or with `exception` = 3 a breakpoint instruction. Returns the
  // hits that are left for the session, or -1 where the exit did not reach the plugin.
  int Exit(int vcpu, uint64_t pc, uint64_t dr6, uint32_t exception = 1) {
    kvm_debug_exit_arch exit = {};
    exit.exception = exception;
    exit.pc = pc;
    exit.dr6 = dr6;
    target.saved_registers(vcpu).regs.rip = pc;
    int left = -1;
    target.OnVcpuThread(vcpu, [&] {
      if (!debugger.OnDebugExit(vcpu, exit)) return;
      WatchHits hits;
      watches.OnExit(vcpu, exit, hits);
      left = hits.count;
    });
    return left;
  }

  DebugTargetFake target;
  RunControlFake run_control{&target};
  GuestDebugComposer composer{&target, /*can_block_interrupts=*/true};
  bool software_breakpoints_work = true;
  Debugger debugger{&composer, &run_control, [this] { return software_breakpoints_work; }};
  SharedWatches watches{std::make_unique<HwWatch>(composer, [] { return absl::OkStatus(); }), &debugger};
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_DEBUGGER_FAKE_H_
