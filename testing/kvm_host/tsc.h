// How fast this machine's time-stamp counter runs, which is also that of a machine emulated on it.
//
// The emulated kernel would find it out by comparing with an emulated timer chip. On a busy machine
// that fails, and then it hangs in its early boot.
#ifndef WATCHSNAP_TESTING_KVM_HOST_TSC_H_
#define WATCHSNAP_TESTING_KVM_HOST_TSC_H_

#include <cstdint>

namespace watchsnap::kvm_host {

// In kHz, measured over some 20 ms, to about 10 parts in a million. 0 where there is no such
// counter.
int64_t MeasureTscKhz();

}  // namespace watchsnap::kvm_host

#endif  // WATCHSNAP_TESTING_KVM_HOST_TSC_H_
