#include "testing/benchmarks/bare_freeze.h"

#include <dirent.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "debug/debug_dispatcher.h"
#include "debug/machine_debug_target.h"
#include "debug/registry.h"
#include "snapshot/capture/evidence.h"
#include "snapshot/capture/freeze_coordinator.h"
#include "snapshot/capture/renderer.h"
#include "snapshot/evidence/evidence_parts.h"
#include "testing/bare_guest/bare_guest_builder.h"
#include "testing/bare_guest/bare_guests.h"
#include "vmm/futex.h"
#include "vmm/kvm_flexible.h"
#include "vmm/machine.h"
#include "vmm/virtual_piece.h"
#include "vmm/x86_64/page_walk_cache.h"

namespace watchsnap {
namespace {

constexpr int kWarmUp = 20;  // of each block, not counted
// Other vCPUs get so long to be inside the guest again.
constexpr timespec kBetween = {.tv_sec = 0, .tv_nsec = 300'000};

double NowUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

// The guest's memory through its own page tables, as a kernel's is read.
class TablesOfVcpu0 : public FrozenMemory {
 public:
  explicit TablesOfVcpu0(Machine* machine) : machine_(machine) {}
  size_t CopyPrefix(uint64_t kva, absl::Span<uint8_t> out) const override {
    const kvm_sregs& sregs = machine_->vcpu(0).registers().sregs;
    const PagingState paging = {
        .cr0 = sregs.cr0, .cr3 = sregs.cr3, .cr4 = sregs.cr4, .efer = sregs.efer};
    return walked_.ReadPrefix(machine_->memory(), paging, kva, out);
  }
  void BeginFreeze() const override { walked_.Forget(); }
  VirtualPiece PieceAt(uint64_t kva) const override { return walked_.Find(kva); }

 private:
  Machine* const machine_;
  mutable PageWalkCache walked_;
};

class StackAndVariables : public EvidencePart {
 public:
  explicit StackAndVariables(const BareFreezeOptions& options) : options_(options) {}
  std::string_view Name() const override { return "stack and variables"; }
  void Copy(const CaptureContext&, MemoryReader& recorder) override {
    constexpr uint64_t kMemory = BareGuestBuilder::kVirtualOffset + (4 << 20);
    if (options_.stack_bytes > 0) recorder.Take(kMemory, options_.stack_bytes);
    for (size_t i = 0; i < options_.variables; ++i) {
      recorder.Take(kMemory + (1 << 20) + i * 2 * options_.variable_bytes, options_.variable_bytes);
    }
  }
  void Render(const CaptureContext&, MemoryReader&, Report&) override {}

 private:
  const BareFreezeOptions options_;
};

// A floor's exits bring no registers along.
class BareRegisters {
 public:
  explicit BareRegisters(Vcpu& vcpu) : run_(vcpu.run()), valid_(run_.kvm_valid_regs) {
    run_.kvm_valid_regs = 0;
  }
  ~BareRegisters() { run_.kvm_valid_regs = valid_; }

 private:
  kvm_run& run_;
  const uint64_t valid_;
};

// A machine with a watched bare guest and all of the product between a hit and its evidence.
class WatchedGuest {
 public:
  absl::Status Create(const BareFreezeOptions& options, VcpuExitObserver* observer) {
    guest_ = options.others_halted ? SpinningAndHaltedGuest(options.vcpus)
                                   : SpinningGuest(options.vcpus);
    MachineConfig config;
    config.vcpus = options.vcpus;
    config.memory_bytes = 16 << 20;
    config.boot = guest_.boot;
    config.observer = observer;
    absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
    if (!machine.ok()) return machine.status();
    machine_ = *std::move(machine);
    target_ = std::make_unique<MachineDebugTarget>(machine_.get());
    absl::StatusOr<std::unique_ptr<DebugDevice>> device = CreateDebugDevice("hw_watch", *target_);
    if (!device.ok()) return device.status();
    device_ = *std::move(device);
    absl::StatusOr<std::unique_ptr<EvidenceRing>> ring = EvidenceRing::Create(8 << 20);
    if (!ring.ok()) return ring.status();
    pool_ = std::make_unique<EvidencePool>(64, options.vcpus, *std::move(ring));
    coordinator_ = std::make_unique<FreezeCoordinator>(&machine_->barrier(), target_.get(),
                                                       pool_.get(), FreezeCoordinator::Options());
    memory_ = std::make_unique<TablesOfVcpu0>(machine_.get());
    parts_.memory = memory_.get();
    parts_.parts.push_back(std::make_unique<StackAndVariables>(options));
    coordinator_->SetParts(&parts_);
    dispatcher_.Connect(device_.get(), coordinator_.get());
    const absl::Status added = coordinator_
                                   ->Add({.symbol = "counter",
                                          .address = guest_.words[0],
                                          .watched_bytes = 8,
                                          .symbol_bytes = 8},
                                         options.watch)
                                   .status();
    if (!added.ok()) return added;
    return device_->Arm({.address = guest_.words[0], .length = 8, .tag = "counter"}).status();
  }

  Machine& machine() { return *machine_; }
  EvidencePool& pool() { return *pool_; }
  FreezeCoordinator& coordinator() { return *coordinator_; }
  DebugDispatcher& dispatcher() { return dispatcher_; }

 private:
  BareGuest guest_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineDebugTarget> target_;
  std::unique_ptr<DebugDevice> device_;
  std::unique_ptr<EvidencePool> pool_;
  std::unique_ptr<FreezeCoordinator> coordinator_;
  std::unique_ptr<TablesOfVcpu0> memory_;
  EvidenceParts parts_;
  DebugDispatcher dispatcher_;
};

class BareBench : public VcpuExitObserver {
 public:
  explicit BareBench(const BareFreezeOptions& options)
      : options_(options), copy_(options.floor_copy_bytes) {}
  ~BareBench() override {
    if (created_) {
      mode_.store(kOver);
      FutexWake(mode_);
      watched_.machine().Stop();
      watched_.pool().Close();
    }
    if (drain_.joinable()) drain_.join();
  }

  absl::StatusOr<BareFreezeResult> Run() {
    absl::Status status = watched_.Create(options_, this);
    if (!status.ok()) return status;
    created_ = true;
    drain_ = std::thread([this] { Drain(); });
    status = watched_.machine().Start();
    if (!status.ok()) return status;
    for (int block = 0; block < options_.blocks; ++block) {
      RunMode(kProduct);
      std::vector<std::thread> others;
      stop_.store(0);
      for (int i = 1; i < options_.vcpus; ++i) {
        others.emplace_back([this, i] {
          (void)watched_.machine().RunOnVcpu(i, [this](Vcpu& vcpu) {
            BeOther(vcpu);
            return absl::OkStatus();
          });
        });
      }
      while (in_floor_.load() < options_.vcpus - 1) absl::SleepFor(absl::Microseconds(100));
      RunMode(kFloor);
      stop_.store(1);
      for (int i = 1; i < options_.vcpus; ++i) watched_.machine().vcpu(i).Kick();
      for (std::thread& other : others) other.join();
      in_floor_.store(0);
    }
    if (!error_.empty()) return absl::InternalError(error_);
    return std::move(result_);
  }

  // On vCPU 0's thread; the guest writes the word for ever.
  void OnDebugExit(Vcpu& vcpu, const kvm_debug_exit_arch& exit) override {
    if (left_ > 0 && mode_.load() == kProduct) {
      watched_.dispatcher().OnDebugExit(vcpu, exit);
      const double done = NowUs();
      if (before_ != 0 && left_ <= options_.block) result_.product.Add(done - before_);
      --left_;
      if (options_.vcpus > 1) nanosleep(&kBetween, nullptr);
      if (left_ > 0) {
        before_ = NowUs();
        return;
      }
      Done();
    }
    for (;;) {
      const uint32_t mode = mode_.load();
      if (mode == kProduct) break;
      if (mode == kFloor) {
        const BareRegisters bare(vcpu);
        Lead(vcpu);
        Done();
      } else if (mode == kOver) {
        return;
      } else {
        // Tasks for this thread and freezes come through the barrier.
        FutexWait(mode_, mode, absl::Now() + absl::Milliseconds(5));
        watched_.machine().barrier().Park(vcpu.index());
      }
    }
    left_ = options_.block + kWarmUp;
    before_ = NowUs();
  }

 private:
  enum Mode : uint32_t { kIdle, kProduct, kFloor, kOver };

  void RunMode(Mode mode) {
    mode_.store(mode);
    FutexWake(mode_);
    while (mode_.load() == static_cast<uint32_t>(mode)) FutexWait(mode_, mode);
  }
  void Done() {
    mode_.store(kIdle);
    FutexWake(mode_);
  }

  // The floor. The leader's part, on vCPU 0's thread.
  void Lead(Vcpu& vcpu) {
    const uint32_t others = static_cast<uint32_t>(options_.vcpus - 1);
    for (int i = 0; i < options_.block + kWarmUp; ++i) {
      const double before = NowUs();
      if (ioctl(vcpu.fd(), KVM_RUN, 0) != 0 || vcpu.run().exit_reason != KVM_EXIT_DEBUG) {
        if (errno == EINTR) {
          vcpu.run().immediate_exit = 0;
          vcpu.TakeKick();
          continue;
        }
        error_ = absl::StrCat("the floor's KVM_RUN ended with exit ", vcpu.run().exit_reason);
        return;
      }
      if (others > 0) {
        parked_.store(0);
        freeze_.store(1);
        for (uint32_t v = 1; v <= others; ++v) watched_.machine().vcpu(static_cast<int>(v)).Kick();
        uint32_t parked;
        while ((parked = parked_.load()) < others) FutexWait(parked_, parked);
        freeze_.store(0);
        thaw_.fetch_add(1);
        FutexWake(thaw_);
      }
      if (!copy_.empty()) {
        std::memcpy(copy_.data(), watched_.machine().memory().HostAddress(5 << 20, copy_.size()),
                    copy_.size());
        __asm__ volatile("" ::"r"(copy_.data()) : "memory");
      }
      const double after = NowUs();
      if (i >= kWarmUp) result_.floor.Add(after - before);
      if (others > 0) nanosleep(&kBetween, nullptr);
    }
  }
  // That of the others.
  void BeOther(Vcpu& vcpu) {
    const BareRegisters bare(vcpu);
    in_floor_.fetch_add(1);
    while (stop_.load() == 0) {
      const int result = ioctl(vcpu.fd(), KVM_RUN, 0);
      if (result == 0) continue;
      __atomic_store_n(&vcpu.run().immediate_exit, 0, __ATOMIC_SEQ_CST);
      if (freeze_.load() == 0) {
        vcpu.TakeKick();
        continue;
      }
      const uint32_t thaw = thaw_.load();
      parked_.fetch_add(1);
      FutexWake(parked_, 1);
      vcpu.TakeKick();
      while (thaw_.load() == thaw && stop_.load() == 0) FutexWait(thaw_, thaw);
    }
  }

  // In the renderer's place: takes each capture's own figures and gives the buffer back.
  void Drain() {
    while (CaptureEvidence* evidence = watched_.pool().Take()) {
      const auto us = [](int64_t from, int64_t to) { return static_cast<double>(to - from) * 1e-3; };
      result_.freeze.Add(us(evidence->start_ns, evidence->frozen_ns));
      result_.evidence.Add(us(evidence->frozen_ns, evidence->evidence_ns));
      result_.thaw.Add(us(evidence->evidence_ns, evidence->thawed_ns));
      result_.pause.Add(us(evidence->start_ns, evidence->thawed_ns));
      result_.hidden.Add(static_cast<double>(evidence->hidden_ns) * 1e-3);
      watched_.pool().Rendered(evidence);
    }
  }

  const BareFreezeOptions options_;
  WatchedGuest watched_;
  bool created_ = false;
  std::thread drain_;
  BareFreezeResult result_;
  std::string error_;
  std::vector<uint8_t> copy_;
  // vCPU 0's own:
  int left_ = 0;
  double before_ = 0;
  std::atomic<uint32_t> mode_{kIdle};
  std::atomic<uint32_t> freeze_{0}, parked_{0}, thaw_{0}, stop_{0};
  std::atomic<int> in_floor_{0};
};

// CPU seconds that the threads of that name took.
double CpuSecondsOf(const std::string& name) {
  double total = 0;
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return 0;
  while (const dirent* entry = readdir(tasks)) {
    const std::string dir = absl::StrCat("/proc/self/task/", entry->d_name);
    std::string comm;
    std::ifstream(dir + "/comm") >> comm;
    if (comm != name) continue;
    std::ifstream file(dir + "/schedstat");
    double ns = 0;
    if (file >> ns) total += ns * 1e-9;
  }
  closedir(tasks);
  return total;
}

}  // namespace

absl::StatusOr<BareFreezeResult> MeasureBareFreeze(const BareFreezeOptions& options) {
  return BareBench(options).Run();
}

// On the vCPU's thread, at its first hit.
class StepBench : public VcpuExitObserver {
 public:
  void OnDebugExit(Vcpu& vcpu, const kvm_debug_exit_arch&) override {
    if (std::exchange(done_, true)) return;
    kvm_clock_data clock = {};
    uint64_t offset = 0;
    kvm_device_attr attribute = {};
    attribute.group = KVM_VCPU_TSC_CTRL;
    attribute.attr = KVM_VCPU_TSC_OFFSET;
    attribute.addr = reinterpret_cast<uint64_t>(&offset);
    ioctl(vcpu.fd(), KVM_GET_DEVICE_ATTR, &attribute);
    const int vm = machine->vm().fd();
    Measure(vcpu, "nothing", [] {});
    Measure(vcpu, "KVM_GET_CLOCK", [&] { ioctl(vm, KVM_GET_CLOCK, &clock); });
    clock.flags = 0;
    Measure(vcpu, "KVM_SET_CLOCK", [&] { ioctl(vm, KVM_SET_CLOCK, &clock); });
    Measure(vcpu, "KVM_VCPU_TSC_OFFSET", [&] {
      --offset;
      ioctl(vcpu.fd(), KVM_SET_DEVICE_ATTR, &attribute);
    });
    Measure(vcpu, "KVM_VCPU_TSC_OFFSET, unchanged",
            [&] { ioctl(vcpu.fd(), KVM_SET_DEVICE_ATTR, &attribute); });
    struct {
      uint32_t count = 1, pad = 0;
      kvm_msr_entry entry = {.index = 0x6e0, .reserved = 0, .data = 0};
    } deadline;
    Measure(vcpu, "reading the TSC deadline",
            [&] { ioctl(vcpu.fd(), kKvmGetMsrs, &deadline); });
    Measure(vcpu, "clock_gettime", [] { NowUs(); });
    std::atomic<uint32_t> word{0};
    Measure(vcpu, "waking nobody", [&] { FutexWake(word); });
    finished.store(1);
    FutexWake(finished);
  }
  Machine* machine = nullptr;
  std::atomic<uint32_t> finished{0};
  std::vector<std::string> lines;

 private:
  template <typename Step>
  void Measure(Vcpu& vcpu, const char* name, Step step) {
    const BareRegisters bare(vcpu);
    Samples of_step, of_exit;
    for (int i = 0; i < 500; ++i) {
      const double begin = NowUs();
      step();
      const double middle = NowUs();
      if (ioctl(vcpu.fd(), KVM_RUN, 0) != 0) {
        vcpu.run().immediate_exit = 0;
        vcpu.TakeKick();
      }
      const double end = NowUs();
      if (i < kWarmUp) continue;
      of_step.Add(middle - begin);
      of_exit.Add(end - middle);
    }
    lines.push_back(
        absl::StrCat(name, ": ", InWords(of_step), "; the exit after it ", InWords(of_exit)));
  }
  bool done_ = false;
};

absl::StatusOr<std::vector<std::string>> MeasureSteps() {
  StepBench bench;
  WatchedGuest watched;
  absl::Status status = watched.Create({}, &bench);
  if (!status.ok()) return status;
  bench.machine = &watched.machine();
  status = watched.machine().Start();
  if (!status.ok()) return status;
  while (bench.finished.load() == 0) FutexWait(bench.finished, 0);
  watched.machine().Stop();
  return bench.lines;
}

absl::StatusOr<SustainedResult> MeasureSustained(double seconds) {
  BareFreezeOptions options;
  WatchedGuest watched;
  // The dispatcher itself is the observer: it exists as long as the guest does.
  absl::Status status = watched.Create(options, &watched.dispatcher());
  if (!status.ok()) return status;
  std::atomic<uint64_t> bytes{0};
  std::unique_ptr<Renderer> renderer = std::make_unique<Renderer>(
      &watched.coordinator(), &watched.pool(), [&bytes](absl::Span<RenderedReport> rendered) {
        for (const RenderedReport& one : rendered) bytes.fetch_add(one.report.vcpus.size());
      });
  status = watched.machine().Start();
  if (!status.ok()) return status;
  absl::SleepFor(absl::Milliseconds(200));
  const double start = NowUs();
  const uint64_t captured = watched.coordinator().counters(0).captured;
  const double rendering = CpuSecondsOf("renderer"), running = CpuSecondsOf("vcpu0");
  absl::SleepFor(absl::Seconds(seconds));
  const double took = (NowUs() - start) * 1e-6;
  SustainedResult result;
  result.captures_per_second =
      static_cast<double>(watched.coordinator().counters(0).captured - captured) / took;
  result.renderer_share = (CpuSecondsOf("renderer") - rendering) / took;
  result.vcpu_share = (CpuSecondsOf("vcpu0") - running) / took;
  watched.machine().Stop();
  renderer->Stop();
  return result;
}

}  // namespace watchsnap
