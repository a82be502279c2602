// Ready-made bare guests for tests of the vCPU loop, the pause barrier, watches and captures.
//
//   BareGuest guest = CountingGuest({.last = 10000, .vcpus = 2});
//   config.boot = guest.boot;
//   config.devices.push_back(BareGuestPowerPort());
//   ... watch guest.words[0] ...
//
// Threads: none. All words start as 0.
#ifndef WATCHSNAP_TESTING_BARE_GUEST_BARE_GUESTS_H_
#define WATCHSNAP_TESTING_BARE_GUEST_BARE_GUESTS_H_

#include <cstdint>
#include <vector>

#include "testing/bare_guest/bare_guest_builder.h"
#include "vmm/device_host.h"
#include "vmm/machine.h"

namespace watchsnap {

struct BareGuest {
  BareBoot boot;
  std::vector<uint64_t> words;  // virtual addresses; see each guest
  std::vector<BareGuestBuilder::StoreSite>
      stores;  // one for each of `words`, where one instruction stores it
};

// A device whose sleep control port ends the run with kPowerOff, for machines without ACPI devices.
DeviceFactory BareGuestPowerPort();

// Every vCPU i increments words[i] for ever.
BareGuest SpinningGuest(int vcpus);

// Every vCPU sets words[i] to 1 and halts for ever: with interrupts enabled, or deaf.
enum class HaltWith { kInterruptsOn, kInterruptsOff };
BareGuest HaltedGuest(int vcpus, HaltWith with);

// vCPU 0 increments words[0] for ever; the others are halted deaf.
BareGuest SpinningAndHaltedGuest(int vcpus);

// Every vCPU reads an unused port for ever and counts in words[i]: it is inside a device access
// nearly all the time.
BareGuest PortReadingGuest(int vcpus);

// Stores 1, 2, … `last` to words[0], one store each, then powers off. With several vCPUs they take
// turns of `turn` stores through words[1], so that one store is over, trap included, before the
// next begins: store n (from 1) is made by vCPU (n − 1) / turn % vcpus. Handing over needs two host
// CPUs that run at the same time; on a busy host that is slow, so a turn is more than one store.
struct CountingOptions {
  uint32_t last = 10000;
  int vcpus = 1;
  int turn = 16;
  StoreKind kind = StoreKind::kMov4;  // with `last` = 1 for kLockBts4, < 256 for the one-byte kinds
  // Waits until words[2] is not 0 before the first store: the test writes it, to arm meanwhile.
  bool wait_for_go = false;
};
BareGuest CountingGuest(const CountingOptions& options);

// Stores 1 … `last` to `words` words each, in turns (1 to all, then 2 to all, …), then powers off.
BareGuest RoundRobinGuest(uint32_t last, int words);

// Every vCPU increments each of `words` words `each` times, by LOCK INC, all vCPUs at once; the last to finish
// powers off. words[i] ends as vcpus × each. The vCPUs wait for each other nowhere.
BareGuest StormGuest(int vcpus, uint32_t each, int words);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_BARE_GUEST_BARE_GUESTS_H_
