#include "testing/bare_guest/bare_guests.h"

#include <cstring>
#include <memory>

#include "absl/types/span.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

class PowerPort : public Device, public IoHandler {
 public:
  explicit PowerPort(DeviceHost& host) : host_(host) {}
  std::string_view Name() const override { return "bare-guest-power"; }
  void Read(uint64_t, absl::Span<uint8_t> data) override {
    std::memset(data.data(), 0xff, data.size());
  }
  void Write(uint64_t, absl::Span<const uint8_t>) override {
    host_.RequestEnd(RunEndKind::kPowerOff, "the bare guest powered off");
  }

 private:
  DeviceHost& host_;
};

// Leaves in RBX the address of this vCPU's own word: `first` + 64 × index.
void PointAtOwnWord(BareGuestBuilder& builder, const std::vector<uint64_t>& words) {
  builder.Mov(Reg::kRbx, words[0]);
  // Adds the distance once for each vCPU before this one.
  const auto done = builder.NewLabel();
  const auto again = builder.Here();
  builder.CmpImm(Reg::kRdi, 0);
  builder.JmpIf(If::kEqual, done);
  builder.AddImm(Reg::kRbx, static_cast<int32_t>(words.size() > 1 ? words[1] - words[0] : 0));
  builder.AddImm(Reg::kRdi, -1);
  builder.Jmp(again);
  builder.Bind(done);
}

std::vector<uint64_t> AllocateWords(BareGuestBuilder& builder, int count) {
  std::vector<uint64_t> words;
  for (int i = 0; i < count; ++i) words.push_back(builder.AllocateWord());
  return words;
}

}  // namespace

DeviceFactory BareGuestPowerPort() {
  return [](DeviceHost& host) -> absl::StatusOr<std::unique_ptr<Device>> {
    auto device = std::make_unique<PowerPort>(host);
    absl::Status status = host.pio().Insert(layout::kAcpiSleepControl, 1, device.get());
    if (!status.ok()) return status;
    return device;
  };
}

BareGuest SpinningGuest(int vcpus) {
  BareGuestBuilder builder;
  BareGuest guest;
  guest.words = AllocateWords(builder, vcpus);
  PointAtOwnWord(builder, guest.words);
  const auto again = builder.Here();
  const uint64_t pc = builder.NextAddress();
  builder.Inc(Reg::kRbx, 8);
  guest.stores.assign(vcpus, {pc, builder.NextAddress()});
  builder.Jmp(again);
  guest.boot = builder.Build();
  return guest;
}

BareGuest HaltedGuest(int vcpus, HaltWith with) {
  BareGuestBuilder builder;
  BareGuest guest;
  guest.words = AllocateWords(builder, vcpus);
  PointAtOwnWord(builder, guest.words);
  const uint64_t pc = builder.NextAddress();
  builder.StoreImm(Reg::kRbx, 1, 8);
  guest.stores.assign(vcpus, {pc, builder.NextAddress()});
  if (with == HaltWith::kInterruptsOff) {
    builder.HaltForever();
  } else {
    builder.Sti();
    const auto again = builder.Here();
    builder.Hlt();
    builder.Jmp(again);
  }
  guest.boot = builder.Build();
  return guest;
}

BareGuest SpinningAndHaltedGuest(int vcpus) {
  BareGuestBuilder builder;
  BareGuest guest;
  guest.words = AllocateWords(builder, vcpus);
  const auto halt = builder.NewLabel();
  builder.CmpImm(Reg::kRdi, 0);
  builder.JmpIf(If::kNotEqual, halt);
  builder.Mov(Reg::kRbx, guest.words[0]);
  const auto again = builder.Here();
  const uint64_t pc = builder.NextAddress();
  builder.Inc(Reg::kRbx, 8);
  guest.stores.push_back({pc, builder.NextAddress()});
  builder.Jmp(again);
  builder.Bind(halt);
  builder.HaltForever();
  guest.boot = builder.Build();
  return guest;
}

BareGuest PortReadingGuest(int vcpus) {
  constexpr uint16_t kUnusedPort = 0x80;
  BareGuestBuilder builder;
  BareGuest guest;
  guest.words = AllocateWords(builder, vcpus);
  PointAtOwnWord(builder, guest.words);
  const auto again = builder.Here();
  builder.In8(kUnusedPort);
  const uint64_t pc = builder.NextAddress();
  builder.Inc(Reg::kRbx, 8);
  guest.stores.assign(vcpus, {pc, builder.NextAddress()});
  builder.Jmp(again);
  guest.boot = builder.Build();
  return guest;
}

// R8: last; R9: own index; R10: address of the turn; R12: the value last stored, as read from the
// word; R13: stores left in this turn.
BareGuest CountingGuest(const CountingOptions& options) {
  BareGuestBuilder builder;
  BareGuest guest;
  guest.words = AllocateWords(builder, 3);
  builder.MovReg(Reg::kR9, Reg::kRdi);
  builder.Mov(Reg::kR8, options.last);
  builder.Mov(Reg::kR10, guest.words[1]);
  if (options.wait_for_go) {
    builder.Mov(Reg::kRbx, guest.words[2]);
    const auto ready = builder.NewLabel();
    const auto wait = builder.Here();
    builder.Load(Reg::kRax, Reg::kRbx, 4);
    builder.CmpImm(Reg::kRax, 0);
    builder.JmpIf(If::kNotEqual, ready);
    builder.Pause();
    builder.Jmp(wait);
    builder.Bind(ready);
  }
  builder.Mov(Reg::kRbx, guest.words[0]);
  const auto finished = builder.NewLabel();
  const auto mine = builder.NewLabel();
  const auto next = builder.Here();
  if (options.vcpus > 1) {
    builder.Load(Reg::kRax, Reg::kR10, 4);
    builder.Cmp(Reg::kRax, Reg::kR9);
    builder.JmpIf(If::kEqual, mine);
    builder.Pause();
    builder.Jmp(next);
    builder.Bind(mine);
    builder.Mov(Reg::kR13, static_cast<uint64_t>(options.turn));
  }
  const auto store = builder.Here();
  builder.Load(Reg::kR12, Reg::kRbx, 4);
  builder.Cmp(Reg::kR12, Reg::kR8);
  builder.JmpIf(If::kAboveOrEqual, finished);
  builder.MovReg(Reg::kRax, Reg::kR12);
  builder.AddImm(Reg::kRax, 1);
  guest.stores.push_back(builder.AdvanceWord(options.kind));
  if (options.vcpus > 1) {
    builder.AddImm(Reg::kR13, -1);
    builder.JmpIf(If::kNotEqual, store);
    // The turn goes to the next one.
    const auto store_turn = builder.NewLabel();
    builder.MovReg(Reg::kRax, Reg::kR9);
    builder.AddImm(Reg::kRax, 1);
    builder.CmpImm(Reg::kRax, options.vcpus);
    builder.JmpIf(If::kBelow, store_turn);
    builder.Mov(Reg::kRax, 0);
    builder.Bind(store_turn);
    builder.Store(Reg::kR10, Reg::kRax, 4);
  }
  builder.Jmp(next);
  builder.Bind(finished);
  builder.PowerOff();
  guest.boot = builder.Build();
  return guest;
}

// R8: rounds left; R14: vCPUs.
BareGuest StormGuest(int vcpus, uint32_t each, int words) {
  BareGuestBuilder builder;
  BareGuest guest;
  guest.words = AllocateWords(builder, words);
  const uint64_t finished = builder.AllocateWord();
  builder.Mov(Reg::kR8, each);
  const auto next = builder.Here();
  for (uint64_t word : guest.words) {
    builder.Mov(Reg::kRbx, word);
    const uint64_t pc = builder.NextAddress();
    builder.LockInc(Reg::kRbx, 4);
    guest.stores.push_back({pc, builder.NextAddress()});
  }
  builder.AddImm(Reg::kR8, -1);
  builder.JmpIf(If::kNotEqual, next);
  // Counts itself as finished; who finds itself the last powers off. LOCK CMPXCHG until it took.
  builder.Mov(Reg::kRbx, finished);
  const auto again = builder.Here();
  builder.Load(Reg::kRax, Reg::kRbx, 4);
  builder.MovReg(Reg::kRcx, Reg::kRax);
  builder.AddImm(Reg::kRcx, 1);
  builder.LockCmpxchg(Reg::kRbx, Reg::kRcx, 4);
  builder.JmpIf(If::kNotEqual, again);
  const auto others_run = builder.NewLabel();
  builder.CmpImm(Reg::kRcx, vcpus);
  builder.JmpIf(If::kNotEqual, others_run);
  builder.PowerOff();
  builder.Bind(others_run);
  builder.HaltForever();
  guest.boot = builder.Build();
  return guest;
}

BareGuest RoundRobinGuest(uint32_t last, int words) {
  BareGuestBuilder builder;
  BareGuest guest;
  guest.words = AllocateWords(builder, words);
  builder.Mov(Reg::kRax, 1);
  builder.Mov(Reg::kR8, last);
  const auto finished = builder.NewLabel();
  const auto next = builder.Here();
  builder.Cmp(Reg::kRax, Reg::kR8);
  builder.JmpIf(If::kAbove, finished);
  for (uint64_t word : guest.words) {
    builder.Mov(Reg::kRbx, word);
    guest.stores.push_back(builder.AdvanceWord(StoreKind::kMov4));
  }
  builder.AddImm(Reg::kRax, 1);
  builder.Jmp(next);
  builder.Bind(finished);
  builder.PowerOff();
  guest.boot = builder.Build();
  return guest;
}

}  // namespace watchsnap
