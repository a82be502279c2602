// CountingMachine: a program of the embedder's around watchsnap's //vmm: a machine with one vCPU whose guest, a few instructions
// without an operating system, counts to a number in memory and then tells a device of the embedder's own that it is done.
//
// Threads: one thread uses it. Errors: what the machine says (no KVM, …).
#ifndef EMBEDDER_COUNTING_MACHINE_H_
#define EMBEDDER_COUNTING_MACHINE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/machine.h"

namespace embedder {

class CountingMachine {
 public:
  static constexpr uint64_t kCounterGpa = 0x200000;
  static constexpr uint16_t kDonePort = 0x510;

  static absl::StatusOr<CountingMachine> Create(uint32_t count_to);

  absl::Status Start() { return machine_->Start(); }
  // How the guest ended: kPowerOff once it has counted.
  watchsnap::RunEnd Wait(absl::Duration at_most) { return machine_->Wait(absl::Now() + at_most); }
  absl::StatusOr<uint64_t> Counter() { return machine_->memory().ReadObject<uint64_t>(kCounterGpa); }

 private:
  explicit CountingMachine(std::unique_ptr<watchsnap::Machine> machine) : machine_(std::move(machine)) {}
  std::unique_ptr<watchsnap::Machine> machine_;
};

}  // namespace embedder

#endif  // EMBEDDER_COUNTING_MACHINE_H_
