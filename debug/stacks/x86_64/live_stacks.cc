// Stacks of the stock kernel, alive: random freezes, freezes inside timer interrupts and NMIs, and
// a panic.
//   live_stacks VMLINUZ VMLINUX BUSY_GUEST [CORES]
// Every kernel stack must be whole; those that the kernel itself prints (sysrq l from its NMI
// handler, the panic) must have the same functions. With CORES, a folder, it writes ELF cores of
// some freezes, for gdb. Runs where watchpoints are delivered (live_stacks_test: the emulated KVM
// host).
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "debug/debug_dispatcher.h"
#include "debug/hit_sink.h"
#include "debug/machine_debug_target.h"
#include "debug/registry.h"
#include "debug/stacks/format_stack.h"
#include "debug/stacks/stack_copy.h"
#include "debug/stacks/stack_extents.h"
#include "debug/stacks/stack_unwinder.h"
#include "debug/stacks/x86_64/core_file.h"
#include "debug/symbols/kernel_identity.h"
#include "debug/symbols/x86_64/idt.h"
#include "devices/standard_devices.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/boot/initramfs.h"
#include "vmm/machine.h"
#include "vmm/x86_64/page_walk.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;

constexpr int kCpus = 2;
constexpr uint32_t kMsrLstar = 0xc000'0082;  // SDM vol. 4, IA32_LSTAR
std::vector<std::string> g_arguments;

// What one freeze copied.
struct Sample {
  std::string why;
  int leader = -1;
  std::array<VcpuRegisters, kCpus> registers;
  std::array<StackCopy, kCpus> stacks;
  int64_t copy_ns = 0;
};

class LiveGuest : public HitSink {
 public:
  void Start() {
    auto symbols = KernelSymbols::Open(g_arguments[2]);
    ASSERT_THAT(symbols, IsOk());
    symbols_ = *std::move(symbols);
    auto unwinder = StackUnwinder::Create(symbols_);
    ASSERT_THAT(unwinder, IsOk());
    unwinder_ = *std::move(unwinder);
    InitramfsBuilder initramfs;
    ASSERT_THAT(initramfs.AddHostFile("init", g_arguments[3], 0755), IsOk());
    ASSERT_THAT(initramfs.AddDevice("dev/console", DeviceKind::kCharacter, 5, 1, 0600), IsOk());
    MachineConfig config;
    config.vcpus = kCpus;
    config.memory_bytes = 512 << 20;
    LinuxBoot boot;
    boot.kernel_path = g_arguments[1];
    boot.initrd = std::move(initramfs).Build();
    boot.command_line =
        absl::StrCat("console=hvc0 panic=-1 ignore_loglevel", cores() ? " nokaslr" : "");
    config.boot = std::move(boot);
    StandardDeviceOptions devices;
    devices.console_sink = [this](std::string_view text) {
      absl::MutexLock lock(&mutex_);
      console_.append(text);
    };
    config.devices = StandardDevices(devices);
    config.observer = &dispatcher_;
    auto machine = Machine::Create(std::move(config));
    ASSERT_THAT(machine, IsOk());
    machine_ = *std::move(machine);
    target_ = std::make_unique<MachineDebugTarget>(machine_.get());
    auto device = CreateDebugDevice("hw_watch", *target_);
    ASSERT_THAT(device, IsOk());
    device_ = *std::move(device);
    dispatcher_.Connect(device_.get(), this);
    ASSERT_THAT(machine_->Start(), IsOk());
    ASSERT_TRUE(WaitForConsole("busy guest: ready", absl::Seconds(120))) << console();
    ASSERT_NO_FATAL_FAILURE(Identify());
  }
  ~LiveGuest() override {
    if (machine_ != nullptr) machine_->Stop();
  }

  bool cores() const { return g_arguments.size() > 4; }
  Machine& machine() { return *machine_; }
  const KernelSymbols& symbols() { return *symbols_; }
  uint64_t slide() const { return slide_; }
  std::string console() {
    absl::MutexLock lock(&mutex_);
    return console_;
  }
  bool WaitForConsole(std::string_view text, absl::Duration timeout) {
    const absl::Time until = absl::Now() + timeout;
    while (absl::Now() < until) {
      if (absl::StrContains(console(), text)) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  }

  // Frozen.
  void Copy(Sample& sample) {
    const int64_t start = absl::GetCurrentTimeNanos();
    for (int i = 0; i < kCpus; ++i) {
      sample.registers[i] = machine_->vcpu(i).registers();
      const bool user = sample.registers[i].user_mode();
      sample.stacks[i].Take(*extents_, user ? 0 : sample.registers[i].sp(),
                            [this](uint64_t kva, absl::Span<uint8_t> out) {
                              return ReadVirtualPrefix(machine_->memory(), paging_, kva, out);
                            });
    }
    sample.copy_ns = absl::GetCurrentTimeNanos() - start;
  }

  void OnHits(int vcpu, const WatchHits& /*hits*/) override {
    if (!wanted_.load()) return;
    auto sample = std::make_unique<Sample>();
    sample->leader = vcpu;
    for (;;) {
      absl::StatusOr<FrozenVcpus> frozen = machine_->barrier().TryLead(vcpu, absl::Seconds(10));
      if (frozen.ok()) {
        Copy(*sample);
        break;
      }
      machine_->barrier().Park(vcpu);
    }
    absl::MutexLock lock(&mutex_);
    sample->why = why_;
    hits_.push_back(std::move(sample));
  }
  void Collect(std::string why) {
    absl::MutexLock lock(&mutex_);
    why_ = std::move(why);
    hits_.clear();
    wanted_ = true;
  }
  size_t hits() {
    absl::MutexLock lock(&mutex_);
    return hits_.size();
  }
  std::vector<std::unique_ptr<Sample>> TakeHits() {
    wanted_ = false;
    absl::MutexLock lock(&mutex_);
    return std::move(hits_);
  }
  WatchId Arm(std::string_view name) {
    auto address = symbols_->AddressOf(name);
    EXPECT_THAT(address, IsOk());
    auto watch =
        device_->Arm({.address = *address + slide_, .length = 4, .tag = std::string(name)});
    EXPECT_THAT(watch, IsOk());
    return watch.value_or(kNoWatch);
  }
  void Disarm(WatchId watch) { EXPECT_THAT(device_->Disarm(watch), IsOk()); }

  UnwoundStack Unwind(const Sample& sample, int cpu) {
    return unwinder_->Unwind(
        {.registers = UnwindRegisters::From(sample.registers[cpu]), .slide = slide_},
        [&sample, cpu](uint64_t kva, absl::Span<uint8_t> out) {
          return sample.stacks[cpu].Read(kva, out);
        });
  }
  std::string Format(const UnwoundStack& stack) { return FormatStack(stack, *symbols_, slide_); }
  std::vector<std::string> Names(const UnwoundStack& stack) {
    return FunctionNames(stack, *symbols_, slide_);
  }

 private:
  void Identify() {
    auto frozen = machine_->Freeze(absl::Seconds(10));
    ASSERT_THAT(frozen, IsOk());
    const VcpuRegisters& registers = machine_->vcpu(0).registers();
    paging_ = {.cr0 = registers.sregs.cr0,
               .cr3 = registers.sregs.cr3,
               .cr4 = registers.sregs.cr4,
               .efer = registers.sregs.efer};
    const auto read = [this](uint64_t kva, absl::Span<uint8_t> out) {
      return ReadVirtual(machine_->memory(), paging_, kva, out);
    };
    KaslrEvidence evidence;
    ASSERT_THAT(machine_->RunOnVcpu(0,
                                    [&evidence](Vcpu& vcpu) {
                                      evidence.syscall_entry = vcpu.ReadMsr(kMsrLstar).value_or(0);
                                      return absl::OkStatus();
                                    }),
                IsOk());
    auto slide = MeasureSlide(*symbols_, evidence);
    ASSERT_THAT(slide, IsOk());
    slide_ = slide->value;
    const auto top = TranslateVirtual(machine_->memory(), paging_,
                                      *symbols_->AddressOf("init_top_pgt") + slide_);
    ASSERT_TRUE(top.has_value());
    paging_.cr3 = top->gpa;
    auto extents = StackExtents::Create(*symbols_, slide_, read, kCpus);
    ASSERT_THAT(extents, IsOk());
    extents_ = std::make_unique<StackExtents>(*std::move(extents));
    EXPECT_EQ(extents_->cpu_stacks().size(), kCpus * (1u + 6 + 1));
  }

  DebugDispatcher dispatcher_;
  std::shared_ptr<const KernelSymbols> symbols_;
  std::shared_ptr<const StackUnwinder> unwinder_;
  std::unique_ptr<StackExtents> extents_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineDebugTarget> target_;
  std::unique_ptr<DebugDevice> device_;
  PagingState paging_;
  uint64_t slide_ = 0;
  std::atomic<bool> wanted_{false};
  absl::Mutex mutex_;
  std::string console_ ABSL_GUARDED_BY(mutex_);
  std::string why_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Sample>> hits_ ABSL_GUARDED_BY(mutex_);
};

// Counts of what was seen, and the checks that hold for every stack.
struct Census {
  std::map<StackEnd, int> ends;
  int interrupted = 0;    // stacks with an interrupt or exception frame
  int several_parts = 0;  // that went over several stacks
  size_t frames = 0;
  size_t bytes = 0;
  size_t most_bytes = 0;
  int stacks = 0;
  int64_t copy_ns = 0;
  int samples = 0;

  void Add(LiveGuest& guest, const Sample& sample) {
    ++samples;
    copy_ns += sample.copy_ns;
    for (int cpu = 0; cpu < kCpus; ++cpu) {
      const UnwoundStack stack = guest.Unwind(sample, cpu);
      ++ends[stack.end];
      if (sample.registers[cpu].user_mode()) continue;
      ++stacks;
      frames += stack.frames.size();
      bytes += sample.stacks[cpu].bytes();
      most_bytes = std::max(most_bytes, sample.stacks[cpu].bytes());
      several_parts += sample.stacks[cpu].parts().size() > 1;
      interrupted += std::any_of(
          stack.frames.begin(), stack.frames.end(),
          [](const StackFrame& frame) { return frame.kind == FrameKind::kInterrupted; });
      EXPECT_TRUE(IsWhole(stack.end) && stack.end != StackEnd::kEndOfStack)
          << sample.why << ", CPU " << cpu << ":\n"
          << guest.Format(stack);
      for (const std::string& name : guest.Names(stack)) EXPECT_NE(name, "") << guest.Format(stack);
    }
  }
  void Print(std::string_view what) const {
    std::printf(
        "%.*s: %d kernel stacks of %d freezes, %zu frames, %d across an interrupt, %d over several "
        "stacks; "
        "copied %zu bytes in all, at most %zu; %.1f us a freeze\n",
        static_cast<int>(what.size()), what.data(), stacks, samples, frames, interrupted,
        several_parts, bytes, most_bytes, samples == 0 ? 0.0 : copy_ns / 1e3 / samples);
    for (const auto& [end, count] : ends)
      std::printf("  %4d %s\n", count, std::string(StackEndName(end)).c_str());
    std::fflush(stdout);
  }
};

// The functions of the kernel's own "Call Trace:" that begins at or after `from`; "? name" is not
// the kernel's word for it. Leaves out the offsets, and marks of other stacks (<IRQ>, <TASK>).
std::vector<std::string> KernelTrace(const KernelSymbols& symbols, std::string_view console,
                                     size_t from) {
  std::vector<std::string> names;
  const size_t begin = console.find("Call Trace:", from);
  if (begin == console.npos) return names;
  bool in_task = false;
  for (std::string_view line : absl::StrSplit(console.substr(begin), '\n')) {
    if (const size_t stamp = line.find("] "); stamp != line.npos && absl::StartsWith(line, "["))
      line = line.substr(stamp + 2);
    line = absl::StripAsciiWhitespace(line);
    if (line == "Call Trace:") {
      if (in_task) break;
      continue;
    }
    in_task = true;
    if (line == "</TASK>") break;
    if (absl::StartsWith(line, "?")) continue;
    // What was interrupted there is only told with its registers.
    absl::ConsumePrefix(&line, "RIP: 0010:");
    const size_t plus = line.find("+0x");
    if (plus == line.npos || absl::StrContains(line.substr(0, plus), ' ')) continue;
    // The kernel knows labels inside of functions (entry_SYSCALL_64_after_hwframe): the functions
    // are compared.
    std::string_view name = line.substr(0, plus);
    if (const auto address = symbols.AddressOf(name); address.ok()) {
      if (const auto symbol = symbols.Symbolize(*address); symbol.has_value()) name = symbol->name;
    }
    names.emplace_back(name);
  }
  return names;
}

bool EndsWith(const std::vector<std::string>& all, const std::vector<std::string>& tail) {
  return tail.size() <= all.size() && std::equal(tail.rbegin(), tail.rend(), all.rbegin());
}

// A core for gdb, and one more for what was interrupted, from each set of saved registers: gdb
// knows neither entry code nor the switch to the IRQ stack, so it begins again behind them.
void WriteCores(LiveGuest& guest, const std::string& path, const Sample& sample, int cpu) {
  const UnwoundStack stack = guest.Unwind(sample, cpu);
  VcpuRegisters registers = sample.registers[cpu];
  UnwoundStack part;
  part.end = stack.end;
  int number = 0;
  auto write = [&] {
    ASSERT_TRUE(WriteCore(absl::StrCat(path, ".", number++), registers, sample.stacks[cpu],
                          guest.Format(part)));
    part.frames.clear();
  };
  for (const StackFrame& frame : stack.frames) {
    if (frame.saved_registers != 0) {
      ASSERT_NO_FATAL_FAILURE(write());
      // struct pt_regs, in its order.
      std::array<uint64_t, 21> words;
      ASSERT_TRUE(sample.stacks[cpu].Read(
          frame.saved_registers,
          absl::MakeSpan(reinterpret_cast<uint8_t*>(words.data()), sizeof words)));
      kvm_regs& regs = registers.regs;
      __u64* const order[] = {&regs.r15, &regs.r14, &regs.r13, &regs.r12, &regs.rbp,
                              &regs.rbx, &regs.r11, &regs.r10, &regs.r9,  &regs.r8,
                              &regs.rax, &regs.rcx, &regs.rdx, &regs.rsi, &regs.rdi};
      for (size_t i = 0; i < std::size(order); ++i) *order[i] = words[i];
      regs.rip = words[16];
      regs.rflags = words[18];
      regs.rsp = words[19];
    }
    part.frames.push_back(frame);
  }
  write();
}

TEST(LiveStacks, OfTheStockKernel) {
  LiveGuest guest;
  ASSERT_NO_FATAL_FAILURE(guest.Start());
  std::printf("slide %#lx\n", static_cast<unsigned long>(guest.slide()));

  // Anywhere.
  std::mt19937 random(std::random_device{}());
  Census anywhere;
  int cores = 0;
  for (int i = 0; i < 150; ++i) {
    absl::SleepFor(absl::Microseconds(500 + random() % 20000));
    Sample sample;
    sample.why = "a random freeze";
    {
      auto frozen = guest.machine().Freeze(absl::Seconds(10));
      ASSERT_THAT(frozen, IsOk());
      guest.Copy(sample);
    }
    anywhere.Add(guest, sample);
    if (i < 3) std::printf("%s\n", guest.Format(guest.Unwind(sample, i % kCpus)).c_str());
    for (int cpu = 0; guest.cores() && cpu < kCpus && cores < 20; ++cpu) {
      if (sample.registers[cpu].user_mode()) continue;
      ASSERT_NO_FATAL_FAILURE(
          WriteCores(guest, absl::StrCat(g_arguments[4], "/stack", cores++), sample, cpu));
    }
  }
  anywhere.Print("anywhere");
  EXPECT_GE(anywhere.stacks, 20);

  // In the timer interrupt.
  guest.Collect("jiffies_64");
  WatchId watch = guest.Arm("jiffies_64");
  for (int i = 0; i < 2000 && guest.hits() < 60; ++i) absl::SleepFor(absl::Milliseconds(5));
  guest.Disarm(watch);
  Census ticks;
  std::vector<std::unique_ptr<Sample>> hits = guest.TakeHits();
  EXPECT_GE(hits.size(), 20u);
  for (size_t i = 0; i < hits.size(); ++i) {
    ticks.Add(guest, *hits[i]);
    const UnwoundStack stack = guest.Unwind(*hits[i], hits[i]->leader);
    if (i < 2) std::printf("%s\n", guest.Format(stack).c_str());
    // Who interrupted: the handler, whatever it interrupted.
    EXPECT_THAT(guest.Names(stack), ::testing::Contains(::testing::HasSubstr("asm_sysvec_")));
    if (guest.cores() && i < 20) {
      ASSERT_NO_FATAL_FAILURE(
          WriteCores(guest, absl::StrCat(g_arguments[4], "/tick", i), *hits[i], hits[i]->leader));
    }
  }
  ticks.Print("in the timer interrupt");
  EXPECT_GE(ticks.interrupted, 5);

  // The kernel's own word: from the NMI handler, each CPU prints the stack of what the NMI came
  // into, and then clears its bit, which we watch.
  guest.Collect("backtrace_mask");
  watch = guest.Arm("backtrace_mask");
  ASSERT_TRUE(guest.WaitForConsole("busy guest: crash", absl::Seconds(120))) << guest.console();
  guest.Disarm(watch);
  hits = guest.TakeHits();
  guest.Collect("panic_cpu");
  guest.Arm("panic_cpu");  // now: it panics half a second after it said so
  Census nmis;
  std::vector<std::vector<std::string>> ours;
  for (const auto& hit : hits) {
    nmis.Add(guest, *hit);
    const UnwoundStack stack = guest.Unwind(*hit, hit->leader);
    const auto interrupted =
        std::find_if(stack.frames.begin(), stack.frames.end(),
                     [](const StackFrame& frame) { return frame.kind == FrameKind::kInterrupted; });
    if (interrupted == stack.frames.end()) continue;  // in user space, or the CPU that asked
    std::vector<std::string> names = guest.Names(stack);
    names.erase(names.begin(), names.begin() + (interrupted - stack.frames.begin()));
    // The kernel prints no callers there: it has none to print, or cannot unwind from a retpoline.
    if (names.size() == 1 || names[0] == "__x86_indirect_thunk_array") continue;
    if (ours.empty()) std::printf("%s\n", guest.Format(stack).c_str());
    ours.push_back(names);
  }
  nmis.Print("in NMIs");
  // What the kernel prints of it comes later; the panic, which we have armed for, flushes all.
  guest.machine().Wait(absl::Now() + absl::Seconds(60));  // panic=-1 resets at once
  const std::string console = guest.console();
  if (guest.cores()) {
    const std::string name = absl::StrCat(g_arguments[4], "/console.txt");
    if (FILE* file = std::fopen(name.c_str(), "w"); file != nullptr) {
      std::fputs(console.c_str(), file);
      std::fclose(file);
    }
  }
  size_t compared = 0;
  size_t at = 0;
  std::vector<std::vector<std::string>> theirs;
  while ((at = console.find("NMI backtrace for cpu", at)) != console.npos) {
    const size_t next = console.find("NMI backtrace for cpu", at + 1);
    const std::string_view section = std::string_view(console).substr(at, next - at);
    at = next == console.npos ? console.size() : next;
    std::vector<std::string> names = KernelTrace(guest.symbols(), section, 0);
    if (names.empty()) continue;
    theirs.push_back(std::move(names));
  }
  for (const auto& names : ours) {
    // Theirs begins with the caller of RIP (which is on the line "RIP:").
    const bool found =
        std::any_of(theirs.begin(), theirs.end(), [&names](const std::vector<std::string>& trace) {
          return trace.size() + 1 >= names.size() && EndsWith(names, trace);
        });
    compared += found;
    EXPECT_TRUE(found) << absl::StrJoin(names, "\n");
  }
  std::printf("in NMIs: %zu stacks of interrupted kernel code, %zu equal to the kernel's own\n",
              ours.size(), compared);

  // A panic, at its first store.
  hits = guest.TakeHits();
  ASSERT_GE(hits.size(), 1u);
  const UnwoundStack stack = guest.Unwind(*hits[0], hits[0]->leader);
  std::printf("%s\n", guest.Format(stack).c_str());
  EXPECT_TRUE(IsWhole(stack.end));
  const std::vector<std::string> trace =
      KernelTrace(guest.symbols(), console, console.find("Kernel panic"));
  ASSERT_FALSE(trace.empty());
  const std::vector<std::string> names = guest.Names(stack);
  // From sysrq_handle_crash outwards the two are the same.
  const auto ours_from = std::find(names.begin(), names.end(), "sysrq_handle_crash");
  const auto theirs_from = std::find(trace.begin(), trace.end(), "sysrq_handle_crash");
  EXPECT_EQ(std::vector<std::string>(ours_from, names.end()),
            std::vector<std::string>(theirs_from, trace.end()));
  EXPECT_NE(ours_from, names.end());
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  watchsnap::g_arguments.assign(argv, argv + argc);
  if (argc < 4) {
    std::fprintf(stderr, "usage: live_stacks VMLINUZ VMLINUX BUSY_GUEST [CORES]\n");
    return 2;
  }
  return RUN_ALL_TESTS();
}
