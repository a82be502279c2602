// Vcpu: one virtual CPU, its KVM file descriptor and the thread that runs it.
//
// Threads: every KVM ioctl on the vCPU happens on its own thread (TEST-PLATFORM: an ioctl from another
// thread blocks until KVM_RUN returns). Others use Machine::RunOnVcpu. Methods say which is which.
// State: `registers()` is the state saved when the vCPU last parked or led a freeze; it may be read by
// whoever holds the freeze, and by the vCPU's own thread.
#ifndef WATCHSNAP_VMM_VCPU_H_
#define WATCHSNAP_VMM_VCPU_H_

#include <linux/kvm.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "vmm/bus.h"
#include "vmm/guest_time.h"
#include "vmm/kick_signal.h"
#include "vmm/pause_barrier.h"
#include "vmm/run_end.h"
#include "vmm/step_end.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap {

class Vcpu;

// A debugger's hook into the vCPU loop. All calls come on the thread of the vCPU concerned, which is
// outside the guest; while a call lasts, that vCPU does not run (it may lead a freeze or park).
class VcpuExitObserver {
 public:
  virtual ~VcpuExitObserver() = default;
  // KVM_EXIT_DEBUG: a watchpoint, breakpoint or single step. The observer decides what becomes of it,
  // including giving it back to the guest (Vcpu::InjectDebugException).
  virtual void OnDebugExit(Vcpu& vcpu, const kvm_debug_exit_arch& exit) = 0;
  // A guest access to memory that is no RAM: true if the observer served it; else the bus does.
  // One instruction may make several such calls (a wide or unaligned store). It may also come while
  // the vCPU parks: it must not lead a freeze then. An observer that wants to act on a whole
  // instruction calls Vcpu::TellWhenComplete and does so in OnMmioComplete.
  virtual bool OnMmio(Vcpu& /*vcpu*/, uint64_t /*gpa*/, absl::Span<uint8_t> /*data*/,
                      bool /*is_write*/) {
    return false;
  }
  // The instruction for which TellWhenComplete was called is over; the registers are those after it.
  virtual void OnMmioComplete(Vcpu& /*vcpu*/) {}
  // KVM_RUN failed with EFAULT: the guest touched a page that the host protects. True if the
  // observer mended it and the vCPU may go on; else the run ends.
  virtual bool OnMemoryFault(Vcpu& /*vcpu*/) { return false; }
  // KVM_EXIT_INTERNAL_ERROR: KVM could not emulate an instruction, or deliver an exception. True if
  // the observer mended it and the vCPU may go on; else the run ends, and `explanation` is told with
  // it.
  virtual bool OnInternalError(Vcpu& /*vcpu*/, std::string& /*explanation*/) { return false; }
};

// What a vCPU needs of its machine.
struct VcpuContext {
  int vm_fd = -1;
  int kvm_fd = -1;
  int mmap_size = 0;
  int kick_signal = 0;
  bool sync_registers = false;  // KVM_CAP_SYNC_REGS holds regs and sregs
  Bus* pio = nullptr;
  Bus* mmio = nullptr;
  std::function<void(RunEndKind, std::string_view)> request_end;
  // Set once the guest has asked for its end: a vCPU that comes out of it then stays out, so that its
  // last state is that of the end.
  const std::atomic<bool>* guest_ended = nullptr;
  GuestTime* guest_time = nullptr;
};

class Vcpu : public PauseParticipant {
 public:
  // `apic_id`: KVM's identifier of the vCPU, its local APIC ID.
  static absl::StatusOr<std::unique_ptr<Vcpu>> Create(int index, uint32_t apic_id,
                                                      const VcpuContext& context);
  ~Vcpu() override;  // The thread must have ended (Machine::Stop).

  int index() const { return index_; }
  int fd() const { return fd_; }
  kvm_run& run() { return *run_; }

  // Starts the thread. `observer` may be null; it must outlive the thread.
  void StartThread(PauseBarrier* barrier, VcpuExitObserver* observer);
  void JoinThread();
  // On the vCPU's own thread (a RunOn task): the loop ends at its next turn.
  void RequestStop() { stop_ = true; }

  const VcpuRegisters& registers() const { return registers_; }

  // The following are for the vCPU's own thread.
  absl::Status SetRegisters(const kvm_regs& regs);
  absl::Status SetSpecialRegisters(const kvm_sregs& sregs);
  absl::Status SetGuestDebug(const kvm_guest_debug& debug);
  absl::StatusOr<uint64_t> ReadMsr(uint32_t index);
  // From within OnMmio: OnMmioComplete is wanted.
  void TellWhenComplete() { tell_when_complete_ = true; }
  // Runs one instruction of the guest with interrupts held back, saves the registers and puts the debug
  // state back; a guest that traces itself gets its exception. From an observer's call; to keep the
  // other vCPUs out the caller leads a freeze. A queued exception is delivered first: see
  // DropQueuedException.
  absl::StatusOr<StepEnd> Step();
  // Whether the guest single-steps itself (RFLAGS.TF), as it stood at the last exit; also from OnMmio.
  bool GuestTraces();
  // Gives a guest that traces itself its debug exception for the instruction that is just over: KVM does
  // not for one that ended in an MMIO exit.
  absl::Status GiveTrace();
  // Takes back an exception that KVM has queued for the guest, if it has that vector.
  absl::Status DropQueuedException(uint8_t vector);
  // Takes off the signal of a Kick. Who makes KVM_RUN on this thread himself does so after one that failed, or the next
  // fails too.
  void TakeKick();
  // Number of KVM_RUN returns so far, by any reason; approximate from other threads.
  uint64_t exits() const { return exits_.load(std::memory_order_relaxed); }

  // PauseParticipant.
  void Kick() override;
  void SaveState() override;
  void AfterParking() override;

 private:
  Vcpu(int index, const VcpuContext& context)
      : index_(index), context_(context), kick_signal_(context.kick_signal) {}
  void Loop(PauseBarrier* barrier);
  // False if the vCPU can run no more.
  bool HandleExit();
  void HandlePortIo();
  void HandleMmio();
  // Lets KVM take the results of a device access, and serves what else the same instruction wants.
  void CompleteAccess();
  // After an exit was handled: what a step left over, what an observer wants to be told.
  bool Settle();
  void FailRun(RunEndKind kind, const std::string& detail);

  const int index_;
  const VcpuContext context_;
  int fd_ = -1;
  kvm_run* run_ = nullptr;
  std::thread thread_;
  KickSignal kick_signal_;
  bool kicked_ = false;               // its signal may be pending
  bool stop_ = false;
  bool has_run_ = false;              // run_->s.regs holds something
  bool completion_pending_ = false;   // a PIO or MMIO exit whose result KVM has not taken yet
  bool tell_when_complete_ = false;
  bool exit_left_over_ = false;       // by a step or a completion, in run_
  VcpuExitObserver* observer_ = nullptr;
  kvm_guest_debug guest_debug_ = {};  // as last set, without what happens once
  std::atomic<uint64_t> exits_{0};
  VcpuRegisters registers_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_VCPU_H_
