#include "testing/bare_guest/tracing_guest.h"

#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"

namespace watchsnap {

using ::absl_testing::IsOk;

TracingGuest::TracingGuest(bool icebp) {
  BareGuestBuilder builder;
  word = builder.AllocateWord();
  step_dr6 = builder.AllocateWord();
  icebp_dr6 = builder.AllocateWord();
  count = builder.AllocateWord();
  read_back = builder.AllocateWord();
  idt_pointer_ = builder.AllocateWord();
  idt_ = builder.AllocateWord();
  const auto begin = builder.NewLabel();
  builder.Jmp(begin);
  handler_ = builder.NextAddress();
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
  builder.Mov(Reg::kRbx, idt_pointer_);
  builder.Raw({0x0f, 0x01, 0x1b});  // lidt [rbx]
  builder.Mov(Reg::kRcx, kDr3);
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

// A 64-bit interrupt gate for vector 1, selector as the vCPU's own CS.
void TracingGuest::InstallHandler(Machine& machine) const {
  GuestMemory& memory = machine.memory();
  const uint64_t selector = machine.vcpu(0).registers().sregs.cs.selector;
  const uint64_t low =
      (handler_ & 0xffff) | selector << 16 | 0x8e00ull << 32 | (handler_ >> 16 & 0xffff) << 48;
  const auto at = [](uint64_t va) { return BareGuestBuilder::GpaOf(va); };
  ASSERT_THAT(memory.WriteObject<uint64_t>(at(idt_) + 16, low), IsOk());
  ASSERT_THAT(memory.WriteObject<uint64_t>(at(idt_) + 24, handler_ >> 32), IsOk());
  ASSERT_THAT(memory.WriteObject<uint16_t>(at(idt_pointer_), 31), IsOk());
  ASSERT_THAT(memory.WriteObject<uint64_t>(at(idt_pointer_) + 2, idt_), IsOk());
}

}  // namespace watchsnap
