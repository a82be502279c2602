// Names of the parameters that the host gives a guest in HELLO_REPLY (values are decimal where they
// are numbers).
#ifndef WATCHSNAP_SNAPSHOT_GUEST_INIT_PARAMETERS_H_
#define WATCHSNAP_SNAPSHOT_GUEST_INIT_PARAMETERS_H_

namespace watchsnap::guest_parameter {

// For watchsnap-init: power off so many milliseconds after the go, where it idles itself.
inline constexpr char kPowerOffAfterMs[] = "power_off_after_ms";

}  // namespace watchsnap::guest_parameter

#endif  // WATCHSNAP_SNAPSHOT_GUEST_INIT_PARAMETERS_H_
