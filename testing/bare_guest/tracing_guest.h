// TracingGuest: a bare guest with a handler for debug exceptions (#DB), which traces itself.
//
// It single-steps itself over one store of 1 to `word`, then may execute ICEBP, a debug exception that names no reason, reads back the
// DR3 that it set, and powers off. The handler counts exceptions and keeps the DR6 of the first and of the last, and clears DR6 and TF.
//
//   const TracingGuest guest(/*icebp=*/true);
//   ... a machine with guest.boot, not yet started ...
//   ASSERT_NO_FATAL_FAILURE(guest.InstallHandler(machine));
//
// Threads: the test's. Addresses are guest-virtual. Encodings and the gate: Intel SDM volumes 2 and 3A §6.14.1.
#ifndef WATCHSNAP_TESTING_BARE_GUEST_TRACING_GUEST_H_
#define WATCHSNAP_TESTING_BARE_GUEST_TRACING_GUEST_H_

#include <cstdint>

#include "testing/bare_guest/bare_guest_builder.h"
#include "vmm/machine.h"

namespace watchsnap {

class TracingGuest {
 public:
  // `icebp`: whether it executes that; a software KVM may not know it.
  explicit TracingGuest(bool icebp);

  // Only vCPU 0 is started.
  BareBoot boot;
  uint64_t word = 0;         // the traced store's, for a test to watch
  uint64_t after_store = 0;  // the instruction after it
  // What the guest found, a word each.
  uint64_t count = 0;      // exceptions that the handler saw
  uint64_t step_dr6 = 0;   // DR6 of the first
  uint64_t icebp_dr6 = 0;  // and of the last
  uint64_t read_back = 0;  // DR3, which the guest set to kDr3
  static constexpr uint64_t kDr3 = 0x1234;

  // Writes the interrupt descriptor table; before Machine::Start. Fatal failures of the test.
  void InstallHandler(Machine& machine) const;

 private:
  uint64_t idt_pointer_ = 0;
  uint64_t idt_ = 0;
  uint64_t handler_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_BARE_GUEST_TRACING_GUEST_H_
