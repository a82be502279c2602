// RunHwWatchSelfTest on x86_64: a guest of eight instructions stores to one word per slot.
#include "debug/hw_watch/self_test.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "debug/hw_watch/x86_64/debug_registers.h"
#include "vmm/machine.h"

namespace watchsnap {
namespace {

using x86_64::kDebugSlots;

constexpr uint64_t kLoadGpa = 0x100000;
constexpr uint64_t kWordsGpa = kLoadGpa + 0x800;
constexpr uint64_t kWordDistance = 8;
constexpr uint32_t kWordLength = 4;
constexpr uint16_t kEndPort = 0x10;

constexpr uint64_t WordGpa(int slot) { return kWordsGpa + slot * kWordDistance; }
constexpr uint32_t KnownValue(int slot) { return 0x5741'5400u + slot; }

struct Program {
  std::vector<uint8_t> bytes;
  std::array<uint64_t, kDebugSlots> after_store = {};  // where a trap of that slot must report
};

Program Assemble() {
  Program program;
  auto emit = [&program](std::initializer_list<uint8_t> bytes) {
    program.bytes.insert(program.bytes.end(), bytes);
  };
  auto emit32 = [&program](uint32_t value) {
    for (int i = 0; i < 4; ++i) program.bytes.push_back(value >> (8 * i));
  };
  emit({0xbb});  // mov ebx, kWordsGpa
  emit32(kWordsGpa);
  for (int slot = 0; slot < kDebugSlots; ++slot) {
    emit({0xc7, 0x43, static_cast<uint8_t>(slot * kWordDistance)});  // mov dword [rbx+disp8], imm32
    emit32(KnownValue(slot));
    program.after_store[slot] = kLoadGpa + program.bytes.size();
  }
  emit({0xe6, kEndPort});  // out kEndPort, al
  emit({0xf4});            // hlt
  emit({0xeb, 0xfd});      // jmp to the hlt
  return program;
}

// The port that ends the run.
class EndPort : public Device, public IoHandler {
 public:
  explicit EndPort(DeviceHost& host) : host_(host) {}
  std::string_view Name() const override { return "self-test end port"; }
  void Read(uint64_t, absl::Span<uint8_t> data) override {
    std::memset(data.data(), 0xff, data.size());
  }
  void Write(uint64_t, absl::Span<const uint8_t>) override {
    host_.RequestEnd(RunEndKind::kPowerOff, "the self-test's guest is done");
  }

 private:
  DeviceHost& host_;
};

absl::StatusOr<std::unique_ptr<Device>> MakeEndPort(DeviceHost& host) {
  auto device = std::make_unique<EndPort>(host);
  absl::Status status = host.pio().Insert(kEndPort, 1, device.get());
  if (!status.ok()) return status;
  return device;
}

// Written on the one vCPU's thread, read when that has been joined.
class Recorder : public VcpuExitObserver {
 public:
  explicit Recorder(const Program& program) : program_(program) {}

  void OnDebugExit(Vcpu&, const kvm_debug_exit_arch& exit) override {
    for (int slot = 0; slot < kDebugSlots; ++slot) {
      if ((exit.dr6 >> slot & 1) == 0 || exit.exception != x86_64::kDebugException) continue;
      if (exit.pc == program_.after_store[slot]) {
        delivered[slot] = true;
      } else {
        stray[slot] = absl::StrFormat("a hit at pc %#x where %#x was right", exit.pc,
                                      program_.after_store[slot]);
      }
    }
  }

  std::array<bool, kDebugSlots> delivered = {};
  std::array<std::string, kDebugSlots> stray;

 private:
  const Program& program_;
};

}  // namespace

absl::StatusOr<SelfTestResult> RunHwWatchSelfTest(const std::string& kvm_path,
                                                  absl::Duration deadline) {
  const absl::Time began = absl::Now();
  const Program program = Assemble();
  Recorder recorder(program);
  MachineConfig config;
  config.vcpus = 1;
  config.memory_bytes = 2 << 20;
  config.boot = BareBoot{.image = program.bytes, .load_gpa = kLoadGpa, .entry = kLoadGpa};
  config.devices.push_back(MakeEndPort);
  config.observer = &recorder;
  config.kvm_path = kvm_path;
  absl::StatusOr<std::unique_ptr<Machine>> created = Machine::Create(std::move(config));
  if (!created.ok()) return created.status();
  Machine& machine = **created;

  SelfTestResult result;
  result.slots.resize(kDebugSlots);
  // Each slot alone first, to learn which are accepted; then all of those at once.
  absl::Status status = machine.RunOnVcpu(0, [&result](Vcpu& vcpu) {
    x86_64::DebugSlots accepted;
    for (int slot = 0; slot < kDebugSlots; ++slot) {
      x86_64::DebugSlots one;
      one[slot] = {WordGpa(slot), kWordLength};
      absl::Status status = vcpu.SetGuestDebug(x86_64::GuestDebugFor(one));
      if (status.ok()) {
        accepted[slot] = one[slot];
      } else {
        result.slots[slot] = {SlotOutcome::kRefuses, std::string(status.message())};
      }
    }
    return vcpu.SetGuestDebug(x86_64::GuestDebugFor(accepted));
  });
  if (!status.ok()) return status;
  status = machine.Start();
  if (!status.ok()) return status;
  const RunEnd end = machine.Wait(began + deadline);
  machine.Stop();
  if (end.kind != RunEndKind::kPowerOff) {
    return absl::InternalError(absl::StrCat("the self-test's guest did not reach its end: ",
                                            RunEndKindName(end.kind), " ", end.detail));
  }
  for (int slot = 0; slot < kDebugSlots; ++slot) {
    const absl::StatusOr<uint32_t> word = machine.memory().ReadObject<uint32_t>(WordGpa(slot));
    if (!word.ok()) return word.status();
    if (*word != KnownValue(slot)) {
      return absl::InternalError(absl::StrFormat(
          "the self-test's guest stored %#x where %#x was due", *word, KnownValue(slot)));
    }
    SelfTestSlot& found = result.slots[slot];
    if (found.outcome == SlotOutcome::kRefuses) continue;
    if (!recorder.stray[slot].empty()) {
      found = {SlotOutcome::kMisdelivers, recorder.stray[slot]};
    } else {
      found.outcome =
          recorder.delivered[slot] ? SlotOutcome::kDelivers : SlotOutcome::kNeverDelivers;
    }
  }
  result.took = absl::Now() - began;
  return result;
}

}  // namespace watchsnap
