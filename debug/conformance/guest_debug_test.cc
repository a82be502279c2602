// The guest's own use of the processor's debug facilities, with and without a watch of ours.
#include <iostream>

#include "absl/status/status_matchers.h"
#include "absl/time/clock.h"
#include "debug/conformance/harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::conformance {
namespace {

using ::absl_testing::IsOk;

// A guest with a handler for debug exceptions. It traces itself over one store to `word`, then may execute
// ICEBP, a debug exception that names no reason.
struct TracingGuest {
  BareGuestBuilder builder;
  const uint64_t word = builder.AllocateWord();
  const uint64_t step_dr6 = builder.AllocateWord();   // DR6 of the first exception
  const uint64_t icebp_dr6 = builder.AllocateWord();  // and of the last
  const uint64_t count = builder.AllocateWord();      // exceptions that the handler saw
  const uint64_t read_back = builder.AllocateWord();  // DR3, which the guest set
  const uint64_t idt_pointer = builder.AllocateWord();
  const uint64_t idt = builder.AllocateWord();
  uint64_t handler = 0;
  uint64_t after_store = 0;
  BareBoot boot;

  explicit TracingGuest(bool icebp) {
    const auto begin = builder.NewLabel();
    builder.Jmp(begin);
    handler = builder.NextAddress();
    builder.Mov(Reg::kRbx, count);
    builder.Inc(Reg::kRbx, 4);
    builder.Raw({0x0f, 0x21, 0xf1});  // mov rcx, dr6
    const auto not_first = builder.NewLabel();
    const auto out = builder.NewLabel();
    builder.Load(Reg::kRax, Reg::kRbx, 4);
    builder.CmpImm(Reg::kRax, 1);
    builder.JmpIf(If::kNotEqual, not_first);
    builder.Mov(Reg::kRbx, step_dr6);
    builder.Store(Reg::kRbx, Reg::kRcx, 8);
    builder.Jmp(out);
    builder.Bind(not_first);
    builder.Mov(Reg::kRbx, icebp_dr6);
    builder.Store(Reg::kRbx, Reg::kRcx, 8);
    builder.Bind(out);
    builder.Mov(Reg::kRcx, 0xffff0ff0);
    builder.Raw({0x0f, 0x23, 0xf1});  // mov dr6, rcx: as a kernel does, which must clear BS itself
    builder.Raw({0x48, 0x81, 0x64, 0x24, 0x10, 0xff, 0xfe, 0xff, 0xff});  // and qword [rsp+16], ~TF
    builder.Raw({0x48, 0xcf});                                            // iretq
    builder.Bind(begin);
    builder.Mov(Reg::kRbx, idt_pointer);
    builder.Raw({0x0f, 0x01, 0x1b});  // lidt [rbx]
    builder.Mov(Reg::kRcx, 0x1234);
    builder.Raw({0x0f, 0x23, 0xd9});  // mov dr3, rcx: an address, not enabled
    builder.Mov(Reg::kRbx, word);
    builder.Mov(Reg::kRax, 1);
    builder.Raw({0x9c});                                            // pushfq
    builder.Raw({0x48, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00});  // or qword [rsp], TF
    builder.Raw({0x9d});                                            // popfq
    builder.Store(Reg::kRbx, Reg::kRax, 4);                         // traced, and watched
    after_store = builder.NextAddress();
    if (icebp) builder.Raw({0xf1});  // int1
    builder.Mov(Reg::kRbx, read_back);
    builder.Raw({0x0f, 0x21, 0xd9});  // mov rcx, dr3
    builder.Store(Reg::kRbx, Reg::kRcx, 8);
    builder.PowerOff();
    boot = builder.Build();
    boot.started_vcpus = 1;
  }

  // A 64-bit interrupt gate for vector 1 (SDM vol. 3A §6.14.1), selector as the vCPU's own CS.
  void InstallHandler(Machine& machine) const {
    GuestMemory& memory = machine.memory();
    const uint64_t selector = machine.vcpu(0).registers().sregs.cs.selector;
    const uint64_t low =
        (handler & 0xffff) | selector << 16 | 0x8e00ull << 32 | (handler >> 16 & 0xffff) << 48;
    const auto at = [](uint64_t va) { return BareGuestBuilder::GpaOf(va); };
    ASSERT_THAT(memory.WriteObject<uint64_t>(at(idt) + 16, low), IsOk());
    ASSERT_THAT(memory.WriteObject<uint64_t>(at(idt) + 24, handler >> 32), IsOk());
    ASSERT_THAT(memory.WriteObject<uint16_t>(at(idt_pointer), 31), IsOk());
    ASSERT_THAT(memory.WriteObject<uint64_t>(at(idt_pointer) + 2, idt), IsOk());
  }
};

struct Seen {
  uint64_t count = 0, step_dr6 = 0, icebp_dr6 = 0, read_back = 0;
};

// False where this KVM cannot run such a guest at all.
bool RunTracingGuest(bool watched, bool icebp, Seen& seen) {
  const TracingGuest guest(icebp);
  Recorder recorder;
  auto setup = PluginMachine::Make(guest.boot, TheSubject().vcpus, &recorder);
  if (setup == nullptr) return false;
  guest.InstallHandler(setup->machine());
  if (watched) {
    EXPECT_THAT(setup->device().Arm({.address = guest.word, .length = 4, .tag = "word"}), IsOk());
  }
  EXPECT_THAT(setup->machine().Start(), IsOk());
  const RunEnd end = setup->machine().Wait(absl::Now() + absl::Minutes(1));
  setup->machine().Stop();
  if (end.kind != RunEndKind::kPowerOff) {
    std::cout << "the guest did not get to its end: " << end.detail << "\n";
    return false;
  }
  EXPECT_EQ(recorder.count(), watched ? 1u : 0u);
  for (const WatchHit& hit : recorder.hits()) EXPECT_EQ(hit.next_pc, guest.after_store);
  constexpr uint64_t kReasons = 0xe00f;  // BT, BS, BD and the four slots
  seen = {.count = setup->Word(guest.count),
          .step_dr6 = setup->Word(guest.step_dr6) & kReasons,
          .icebp_dr6 = setup->Word(guest.icebp_dr6) & kReasons,
          .read_back = setup->Word(guest.read_back)};
  return true;
}

// What the host does for a guest that nobody watches is the measure.
TEST(GuestDebug, TheGuestsOwnDebugExceptionsAreThoseOfAGuestThatIsNotWatched) {
  Seen unwatched, watched;
  bool icebp = true;
  if (!RunTracingGuest(false, icebp, unwatched)) {
    icebp = false;  // a software KVM may not know it
    ASSERT_TRUE(RunTracingGuest(false, icebp, unwatched));
  }
  EXPECT_EQ(unwatched.read_back, 0x1234u);
  EXPECT_GE(unwatched.count, 1u) << "the guest's own trace works without a watch";
  ASSERT_TRUE(RunTracingGuest(true, icebp, watched));
  EXPECT_EQ(watched.count, unwatched.count) << "exceptions that the guest's handler saw";
  EXPECT_EQ(watched.step_dr6, unwatched.step_dr6);
  EXPECT_EQ(watched.icebp_dr6, unwatched.icebp_dr6);
  EXPECT_EQ(watched.read_back, unwatched.read_back) << "DR3, as the guest set it";
}

}  // namespace
}  // namespace watchsnap::conformance
