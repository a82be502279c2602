#include "counting_machine.h"

#include <cstring>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace embedder {
namespace {

using watchsnap::DeviceHost;

// One port; any write to it ends the run.
class DonePort : public watchsnap::Device, public watchsnap::IoHandler {
 public:
  explicit DonePort(DeviceHost& host) : host_(host) {}
  std::string_view Name() const override { return "embedder.done"; }
  void Read(uint64_t, absl::Span<uint8_t> data) override { std::memset(data.data(), 0xff, data.size()); }
  void Write(uint64_t, absl::Span<const uint8_t>) override {
    host_.RequestEnd(watchsnap::RunEndKind::kPowerOff, "counted");
  }

 private:
  DeviceHost& host_;
};

absl::StatusOr<std::unique_ptr<watchsnap::Device>> MakeDonePort(DeviceHost& host) {
  auto device = std::make_unique<DonePort>(host);
  if (absl::Status status = host.pio().Insert(CountingMachine::kDonePort, 1, device.get()); !status.ok()) return status;
  return device;
}

void Append(std::vector<uint8_t>& code, std::initializer_list<uint8_t> bytes) { code.insert(code.end(), bytes); }

void Append32(std::vector<uint8_t>& code, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) code.push_back(static_cast<uint8_t>(value >> shift));
}

// 64-bit code; Intel SDM volume 2 for the encodings.
std::vector<uint8_t> CountTo(uint32_t count) {
  std::vector<uint8_t> code;
  Append(code, {0xb9});  // mov ecx, count
  Append32(code, count);
  const size_t again = code.size();
  Append(code, {0x48, 0xff, 0x04, 0x25});  // inc qword [kCounterGpa]
  Append32(code, CountingMachine::kCounterGpa);
  Append(code, {0xff, 0xc9});  // dec ecx
  Append(code, {0x75, static_cast<uint8_t>(again - (code.size() + 2))});  // jnz again
  Append(code, {0x66, 0xba, CountingMachine::kDonePort & 0xff, CountingMachine::kDonePort >> 8});  // mov dx, kDonePort
  Append(code, {0xee});  // out dx, al
  const size_t halt = code.size();
  Append(code, {0xf4, 0xeb, static_cast<uint8_t>(halt - (code.size() + 3))});  // halt: hlt; jmp halt
  return code;
}

}  // namespace

absl::StatusOr<CountingMachine> CountingMachine::Create(uint32_t count_to) {
  watchsnap::MachineConfig config;
  config.memory_bytes = 16 << 20;
  config.boot = watchsnap::BareBoot{.image = CountTo(count_to)};
  config.devices = {MakeDonePort};
  absl::StatusOr<std::unique_ptr<watchsnap::Machine>> machine = watchsnap::Machine::Create(std::move(config));
  if (!machine.ok()) return machine.status();
  return CountingMachine(*std::move(machine));
}

}  // namespace embedder
