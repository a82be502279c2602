#include "vmm/machine.h"

#include <signal.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/x86_64/cpuid_apic_id.h"
#include "vmm/x86_64/layout.h"
#include "vmm/x86_64/vcpu_setup.h"

namespace watchsnap {
namespace {

constexpr absl::Duration kParkDeadline = absl::Seconds(10);

// The kick only has to interrupt KVM_RUN; the handler does nothing, and runs only where the signal is not blocked
// (vmm/kick_signal.h). It must not be SIG_IGN, which would not interrupt.
absl::Status InstallKickHandler(int signal) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigemptyset(&action.sa_mask);
  if (sigaction(signal, &action, nullptr) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot use signal ", signal,
                                                   " to kick vCPUs; set MachineConfig::kick_signal"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Machine>> Machine::Create(MachineConfig config) {
  auto machine = std::unique_ptr<Machine>(new Machine);
  absl::Status status = machine->Init(std::move(config));
  if (!status.ok()) return status;
  return machine;
}

Machine::~Machine() {
  Stop();
  devices_.clear();
}

absl::Status Machine::Init(MachineConfig config) {
  if (!config.topology.has_value() &&
      (config.vcpus < 1 || config.vcpus > CpuTopology::kMaxVcpus)) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.vcpus, " vCPUs: a machine has 1 to ", CpuTopology::kMaxVcpus));
  }
  topology_ = config.topology.value_or(CpuTopology::Flat(config.vcpus));
  absl::Status status = CheckCpuTopology(topology_);
  if (!status.ok()) return status;
  panic_probe_ = std::move(config.panic_probe);
  observer_ = config.observer;
  const int signal = config.kick_signal != 0 ? config.kick_signal : SIGRTMIN + 3;
  status = InstallKickHandler(signal);
  if (!status.ok()) return status;

  absl::StatusOr<std::unique_ptr<GuestMemory>> memory =
      GuestMemory::Create(config.memory_bytes, layout::kDeviceHoleStart);
  if (!memory.ok()) return memory.status();
  memory_ = *std::move(memory);
  absl::StatusOr<std::unique_ptr<Vm>> vm = Vm::Create(config.kvm_path);
  if (!vm.ok()) return vm.status();
  vm_ = *std::move(vm);
  status = vm_->MapMemory(*memory_);
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create("devices");
  if (!loop.ok()) return loop.status();
  loop_ = *std::move(loop);
  page_protection_ = std::make_unique<PageProtection>(vm_.get(), memory_.get(), loop_.get());

  VcpuContext context;
  context.vm_fd = vm_->fd();
  context.kvm_fd = vm_->kvm_fd();
  context.mmap_size = vm_->vcpu_mmap_size();
  context.kick_signal = signal;
  constexpr int kWantedSync = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  context.sync_registers = (vm_->Capability(KVM_CAP_SYNC_REGS) & kWantedSync) == kWantedSync;
  context.pio = &pio_;
  context.mmio = &mmio_;
  context.guest_ended = &guest_ended_;
  guest_time_ = std::make_unique<GuestTime>(topology_.vcpus());
  context.guest_time = guest_time_.get();
  context.request_end = [this](RunEndKind kind, std::string_view detail) { RequestEnd(kind, detail); };
  for (int i = 0; i < topology_.vcpus(); ++i) {
    absl::StatusOr<std::unique_ptr<Vcpu>> vcpu = Vcpu::Create(i, ApicId(topology_, i), context);
    if (!vcpu.ok()) return vcpu.status();
    vcpus_.push_back(*std::move(vcpu));
  }
  for (const DeviceFactory& factory : config.devices) {
    absl::StatusOr<std::unique_ptr<Device>> device = factory(*this);
    if (!device.ok()) return device.status();
    devices_.push_back(*std::move(device));
  }
  status = std::holds_alternative<LinuxBoot>(config.boot)
               ? LoadLinuxGuest(std::get<LinuxBoot>(std::move(config.boot)))
               : LoadBareGuest(std::get<BareBoot>(config.boot));
  if (!status.ok()) return status;

  std::vector<PauseParticipant*> participants;
  std::vector<int> vcpu_fds;
  for (auto& vcpu : vcpus_) {
    participants.push_back(vcpu.get());
    vcpu_fds.push_back(vcpu->fd());
  }
  guest_time_->Start(vm_->fd(), vcpu_fds);
  barrier_ = std::make_unique<PauseBarrier>(std::move(participants));
  barrier_->SetListener(guest_time_.get());
  for (auto& vcpu : vcpus_) vcpu->StartThread(barrier_.get(), observer_);
  absl::StatusOr<FrozenVcpus> frozen = barrier_->InitialFreeze(kParkDeadline);
  if (!frozen.ok()) return frozen.status();
  initial_freeze_.emplace(*std::move(frozen));
  return absl::OkStatus();
}

absl::Status Machine::LoadLinuxGuest(LinuxBoot boot) {
  // The tables are hardware-reduced ACPI: there is no PIT to calibrate another timer against.
  if (vm_->Capability(KVM_CAP_TSC_DEADLINE_TIMER) == 0) {
    return absl::UnimplementedError(
        "this host's KVM has no TSC-deadline timer (KVM_CAP_TSC_DEADLINE_TIMER), which a Linux guest needs "
        "here; run it on another host, or in the emulated KVM host");
  }
  boot.vcpus = vcpu_count();
  boot.topology = topology_;
  absl::StatusOr<BootEntry> entry = LoadLinux(*memory_, boot);
  if (!entry.ok()) return entry.status();
  boot_entry_ = *std::move(entry);
  return SetUpLinuxVcpus(*vm_, topology_, *boot_entry_, vcpus_);
}

absl::Status Machine::LoadBareGuest(const BareBoot& boot) {
  absl::Status status = memory_->Write(boot.load_gpa, boot.image);
  if (!status.ok()) return status;
  const int started = boot.started_vcpus < 0 ? vcpu_count() : boot.started_vcpus;
  return SetUpBareVcpus(*vm_, *memory_, topology_, boot.entry, started, vcpus_);
}

absl::Status Machine::Start() {
  CHECK(initial_freeze_.has_value()) << "Machine::Start is called once";
  start_time_ = absl::Now();
  initial_freeze_.reset();
  return absl::OkStatus();
}

RunEnd Machine::Wait(absl::Time deadline) {
  std::optional<RunEnd> end;
  {
    absl::MutexLock lock(&mutex_);
    auto ended = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
    mutex_.AwaitWithDeadline(absl::Condition(&ended), deadline);
    end = end_;
  }
  if (!end.has_value()) end = RunEnd{RunEndKind::kDeadline, "the deadline passed"};
  const bool may_be_panic = end->kind == RunEndKind::kReset || end->kind == RunEndKind::kDeadline ||
                            end->kind == RunEndKind::kTripleFault;
  if (may_be_panic && panic_probe_ && panic_probe_()) {
    end->detail = absl::StrCat("the guest kernel panicked, then: ", RunEndKindName(end->kind));
    end->kind = RunEndKind::kPanic;
  }
  return *end;
}

void Machine::Interrupt(std::string_view why) { RequestEnd(RunEndKind::kInterrupted, why); }

void Machine::RequestEnd(RunEndKind kind, std::string_view detail) {
  if (kind == RunEndKind::kReset || kind == RunEndKind::kPowerOff) guest_ended_.store(true);
  absl::MutexLock lock(&mutex_);
  if (!end_.has_value()) end_ = RunEnd{kind, std::string(detail)};
}

void Machine::Stop() {
  if (stopped_) return;
  stopped_ = true;
  if (barrier_ != nullptr) {
    for (auto& vcpu : vcpus_) {
      Vcpu* raw = vcpu.get();
      (void)barrier_->RunOn(raw->index(), [raw] {
        raw->RequestStop();
        return absl::OkStatus();
      });
    }
    initial_freeze_.reset();
    for (auto& vcpu : vcpus_) vcpu->JoinThread();
  }
  if (loop_ != nullptr) {
    loop_->Drain();  // doorbells that the guest rang just before it ended: its last words
    loop_->Stop();
  }
}

absl::Status Machine::RunOnVcpu(int index, std::function<absl::Status(Vcpu&)> task) {
  Vcpu* vcpu = vcpus_[index].get();
  return barrier_->RunOn(index, [vcpu, &task] { return task(*vcpu); });
}

absl::StatusOr<std::unique_ptr<watchsnap::Interrupt>> Machine::CreateInterrupt(uint32_t gsi) {
  return vm_->CreateInterrupt(gsi);
}

absl::StatusOr<std::unique_ptr<MsiInterrupt>> Machine::CreateMsiInterrupt() {
  return vm_->CreateMsiInterrupt();
}

absl::StatusOr<std::unique_ptr<IoEvent>> Machine::RegisterIoEvent(uint64_t gpa, int eventfd) {
  return vm_->RegisterIoEvent(gpa, eventfd);
}

}  // namespace watchsnap
