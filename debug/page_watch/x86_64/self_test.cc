// RunPageWatchSelfTest on x86_64: a guest of five instructions stores to two watched words of one page
// and to one that is not watched.
#include "debug/page_watch/self_test.h"

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "debug/debug_dispatcher.h"
#include "debug/hit_sink.h"
#include "debug/machine_debug_target.h"
#include "vmm/machine.h"

namespace watchsnap {
namespace {

constexpr uint64_t kLoadGpa = 0x100000;
constexpr uint64_t kPage = kLoadGpa + 0x1000;
constexpr uint32_t kKnownValue = 0x5741'5400;
constexpr uint8_t kIncremented = 8;   // offsets in the page
constexpr uint8_t kNotWatched = 16;
constexpr uint16_t kEndPort = 0x10;

struct Program {
  std::vector<uint8_t> bytes;
  std::vector<uint64_t> after_store;  // of the watched ones
};

Program Assemble() {
  Program program;
  const auto emit = [&program](std::initializer_list<uint8_t> bytes) {
    program.bytes.insert(program.bytes.end(), bytes);
  };
  const auto emit32 = [&program](uint32_t value) {
    for (int i = 0; i < 4; ++i) program.bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
  };
  const auto watched = [&program] {
    program.after_store.push_back(kLoadGpa + program.bytes.size());
  };
  emit({0xbb});  // mov ebx, kPage
  emit32(kPage);
  emit({0xc7, 0x03});  // mov dword [rbx], kKnownValue
  emit32(kKnownValue);
  watched();
  emit({0xc7, 0x43, kNotWatched});  // mov dword [rbx+disp8], kKnownValue
  emit32(kKnownValue);
  emit({0xf0, 0xff, 0x43, kIncremented});  // lock inc dword [rbx+disp8]
  watched();
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
struct Recorder : public HitSink {
  void OnHits(int, const WatchHits& hits) override {
    for (int i = 0; i < hits.count; ++i) all.push_back(hits.hits[i]);
  }
  std::vector<WatchHit> all;
};

// What came, against what the guest is known to have done.
absl::Status Judge(const Program& program, const std::vector<WatchHit>& hits,
                   const std::vector<WatchId>& watches, const PageWatch& plugin, PageWay way) {
  if (way == PageWay::kHostProtection && plugin.emulated_stores() != 0) {
    return absl::FailedPreconditionError(
        "a store to a page that is protected in the host's mapping ends in an MMIO exit instead of "
        "EFAULT, so the host emulates it, and an emulated read-modify-write is not atomic against "
        "other vCPUs");
  }
  if (hits.size() != watches.size()) {
    return absl::FailedPreconditionError(
        absl::StrCat("of ", watches.size(), " known stores ", hits.size(), " were delivered"));
  }
  const uint64_t due[] = {kKnownValue, 1};
  for (size_t i = 0; i < hits.size(); ++i) {
    if (hits[i].watch == watches[i] && hits[i].old_value == 0 && hits[i].new_value == due[i] &&
        hits[i].next_pc == program.after_store[i]) {
      continue;
    }
    return absl::FailedPreconditionError(absl::StrFormat(
        "store %d of %d was delivered as %#x -> %#x before pc %#x, where 0 -> %#x before %#x was right",
        i + 1, hits.size(), hits[i].old_value, hits[i].new_value, hits[i].next_pc, due[i],
        program.after_store[i]));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPageWatchSelfTest(PageWay way, const std::string& kvm_path,
                                  absl::Duration deadline) {
  const absl::Time until = absl::Now() + deadline;
  const Program program = Assemble();
  DebugDispatcher dispatcher;
  Recorder recorder;
  MachineConfig config;
  config.vcpus = 1;
  config.memory_bytes = 2 << 20;
  config.boot = BareBoot{.image = program.bytes, .load_gpa = kLoadGpa, .entry = kLoadGpa};
  config.devices.push_back(MakeEndPort);
  config.observer = &dispatcher;
  config.kvm_path = kvm_path;
  absl::StatusOr<std::unique_ptr<Machine>> created = Machine::Create(std::move(config));
  if (!created.ok()) return created.status();
  Machine& machine = **created;
  MachineDebugTarget target(&machine);
  PageWatch plugin(target, way, [](PageWay) { return absl::OkStatus(); });
  dispatcher.Connect(&plugin, &recorder);
  std::vector<WatchId> watches;
  for (uint64_t offset : {uint64_t{0}, uint64_t{kIncremented}}) {
    const absl::StatusOr<WatchId> watch =
        plugin.Arm({.address = kPage + offset, .length = 4, .tag = "the self-test's word"});
    if (!watch.ok()) {
      machine.Stop();
      return absl::FailedPreconditionError(watch.status().message());
    }
    watches.push_back(*watch);
  }
  absl::Status status = machine.Start();
  if (!status.ok()) return status;
  const RunEnd end = machine.Wait(until);
  machine.Stop();
  const std::string how = absl::StrCat(RunEndKindName(end.kind), " ", end.detail);
  // A machine too busy to get there in time has proved nothing.
  if (end.kind == RunEndKind::kDeadline) {
    return absl::DeadlineExceededError(
        absl::StrCat("its guest did not reach its end within ", absl::FormatDuration(deadline)));
  }
  if (end.kind != RunEndKind::kPowerOff) {
    return absl::FailedPreconditionError(
        absl::StrCat("the guest of its self-test did not reach its end: ", how));
  }
  for (const auto& [offset, due] : {std::pair<uint64_t, uint32_t>{0, kKnownValue},
                                    {kIncremented, 1},
                                    {kNotWatched, kKnownValue}}) {
    const absl::StatusOr<uint32_t> word = machine.memory().ReadObject<uint32_t>(kPage + offset);
    if (!word.ok()) return word.status();
    if (*word != due) {
      return absl::FailedPreconditionError(
          absl::StrFormat("a store of %#x to a protected page left %#x there", due, *word));
    }
  }
  return Judge(program, recorder.all, watches, plugin, way);
}

}  // namespace watchsnap
