// watchsnap-init as the host uses it: the program's bytes, and initramfs images with it.
//
//   absl::StatusOr<std::vector<uint8_t>> initrd = WithGuestInit(user_initrd);   // user_initrd may
//   be empty config.append += absl::StrCat(" rdinit=/", kGuestInitPath);
//
// Threads: any. Errors: those of InitramfsBuilder.
#ifndef WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_INIT_IMAGE_H_
#define WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_INIT_IMAGE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap {

// Relative to the guest's root.
inline constexpr char kGuestInitPath[] = "watchsnap-init";

// The statically linked program; lives as long as the process.
absl::Span<const uint8_t> GuestInitProgram();

// An archive with watchsnap-init and /dev/console, followed by `initrd` (any format the kernel
// takes, compressed or not).
absl::StatusOr<std::vector<uint8_t>> WithGuestInit(absl::Span<const uint8_t> initrd);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_INIT_IMAGE_H_
