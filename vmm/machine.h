// Machine: a small KVM virtual machine: memory, vCPUs, devices, a kernel or a bare program, and the
// pause barrier over its vCPUs. Usable on its own:
//
//   MachineConfig config;
//   config.vcpus = 2;
//   config.memory_bytes = 512 << 20;
//   config.boot = LinuxBoot{.kernel_path = "vmlinuz", .command_line = "console=hvc0"};
//   config.devices = StandardDevices({.console_sink = [](std::string_view s) { ... }});
//   absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
//   if (!machine.ok()) ...
//   CHECK_OK((*machine)->Start());
//   RunEnd end = (*machine)->Wait(absl::Now() + absl::Seconds(60));
//
// Threads: Create, Start, Stop and destruction on one thread; the rest from any thread. One thread per
// vCPU ("vcpu0"…) and one for the devices ("devices"). Several machines may live in one process; the
// library installs one signal handler, an empty one for MachineConfig::kick_signal.
// Ownership: the machine owns its devices; the observer stays the caller's and must outlive Stop.
// Errors: Create says what the host lacks or what is wrong with the kernel file; the guest's own
// misdeeds end the run with a RunEnd, never with an abort.
#ifndef WATCHSNAP_VMM_MACHINE_H_
#define WATCHSNAP_VMM_MACHINE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "vmm/boot/cpu_topology.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/device_host.h"
#include "vmm/event_loop.h"
#include "vmm/guest_memory.h"
#include "vmm/guest_time.h"
#include "vmm/page_protection.h"
#include "vmm/pause_barrier.h"
#include "vmm/run_end.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

namespace watchsnap {

// A program without an operating system, for tests and benchmarks: every started vCPU begins in 64-bit
// mode at `entry` with its index in RDI and a stack of its own; the first GiB is mapped at 0 and again
// at 0xffffffff80000000.
struct BareBoot {
  std::vector<uint8_t> image;
  uint64_t load_gpa = 0x100000;
  uint64_t entry = 0x100000;  // GPA, or its alias in the upper half
  int started_vcpus = -1;     // the others wait for a start-up IPI as after reset; -1: all start
};

struct MachineConfig {
  int vcpus = 1;  // 1 to 64
  // Replaces `vcpus`; by default they are so many cores under one cache in one node. The guest finds it
  // in CPUID and, with several nodes, its memory shared out evenly among them (ACPI SRAT and SLIT).
  std::optional<CpuTopology> topology;
  uint64_t memory_bytes = 512ull << 20;
  // In LinuxBoot the machine fills in vCPUs and topology.
  std::variant<LinuxBoot, BareBoot> boot;
  std::vector<DeviceFactory> devices;
  VcpuExitObserver* observer = nullptr;
  // Asked when the guest resets, shuts down or runs out of time: true turns the end into kPanic.
  std::function<bool()> panic_probe;
  int kick_signal = 0;  // 0: SIGRTMIN + 3
  std::string kvm_path = "/dev/kvm";
};

class Machine : private DeviceHost {
 public:
  static absl::StatusOr<std::unique_ptr<Machine>> Create(MachineConfig config);
  ~Machine() override;  // Stops it.

  // Lets the vCPUs run for the first time. Until then they are frozen, and RunOnVcpu works.
  absl::Status Start();
  // Blocks until the run ends or `deadline` passes (kDeadline); the vCPUs are not stopped by it.
  RunEnd Wait(absl::Time deadline);
  // Ends the run from outside. Any thread, at any time.
  void Interrupt(std::string_view why = "");
  // Stops and joins all vCPUs and the device thread. Idempotent. Registers and memory stay readable.
  void Stop();

  int vcpu_count() const { return static_cast<int>(vcpus_.size()); }
  Vcpu& vcpu(int index) { return *vcpus_[index]; }
  PauseBarrier& barrier() { return *barrier_; }
  Vm& vm() { return *vm_; }
  const GuestTime& guest_time() const { return *guest_time_; }
  // Only under a freeze.
  PageProtection& page_protection() { return *page_protection_; }
  GuestMemory& memory() override { return *memory_; }
  EventLoop& loop() override { return *loop_; }
  absl::StatusOr<FrozenVcpus> Freeze(absl::Duration deadline) { return barrier_->Freeze(deadline); }
  // Runs `task` on that vCPU's thread, outside the guest, and waits for it.
  absl::Status RunOnVcpu(int index, std::function<absl::Status(Vcpu&)> task);
  // What the loader found out about the kernel; empty for a bare program.
  const std::optional<BootEntry>& boot_entry() const { return boot_entry_; }
  // Wall time of Start.
  absl::Time start_time() const { return start_time_; }

 private:
  Machine() : pio_("pio"), mmio_("mmio") {}
  absl::Status Init(MachineConfig config);
  absl::Status LoadLinuxGuest(LinuxBoot boot);
  absl::Status LoadBareGuest(const BareBoot& boot);

  // DeviceHost.
  Bus& pio() override { return pio_; }
  Bus& mmio() override { return mmio_; }
  absl::StatusOr<std::unique_ptr<watchsnap::Interrupt>> CreateInterrupt(uint32_t gsi) override;
  absl::StatusOr<std::unique_ptr<MsiInterrupt>> CreateMsiInterrupt() override;
  absl::StatusOr<std::unique_ptr<IoEvent>> RegisterIoEvent(uint64_t gpa, int eventfd) override;
  void RequestEnd(RunEndKind kind, std::string_view detail) override;

  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<PageProtection> page_protection_;
  std::unique_ptr<EventLoop> loop_;
  Bus pio_;
  Bus mmio_;
  std::unique_ptr<GuestTime> guest_time_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
  std::unique_ptr<PauseBarrier> barrier_;
  std::vector<std::unique_ptr<Device>> devices_;  // destroyed before memory, loop and VM
  std::optional<FrozenVcpus> initial_freeze_;
  CpuTopology topology_;
  std::optional<BootEntry> boot_entry_;
  std::function<bool()> panic_probe_;
  VcpuExitObserver* observer_ = nullptr;
  absl::Time start_time_ = absl::InfinitePast();
  bool stopped_ = false;
  std::atomic<bool> guest_ended_{false};  // it asked for reset or power-off

  absl::Mutex mutex_;
  std::optional<RunEnd> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_MACHINE_H_
