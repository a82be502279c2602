#include "snapshot/guest_init/guest_init_image.h"

#include <utility>

#include "vmm/boot/initramfs.h"

// guest_init_program.S, made by the BUILD file.
extern "C" const uint8_t watchsnap_guest_init_begin[];
extern "C" const uint8_t watchsnap_guest_init_end[];

namespace watchsnap {

absl::Span<const uint8_t> GuestInitProgram() {
  return absl::MakeConstSpan(watchsnap_guest_init_begin, watchsnap_guest_init_end);
}

absl::StatusOr<std::vector<uint8_t>> WithGuestInit(absl::Span<const uint8_t> initrd) {
  InitramfsBuilder builder;
  if (absl::Status status = builder.AddFile(kGuestInitPath, GuestInitProgram(), 0755); !status.ok())
    return status;
  // Major 5, minor 1: /dev/console (Documentation/admin-guide/devices.txt); the kernel opens it for
  // PID 1.
  if (absl::Status status = builder.AddDevice("dev/console", DeviceKind::kCharacter, 5, 1, 0600);
      !status.ok()) {
    return status;
  }
  std::vector<uint8_t> image = std::move(builder).Build();
  image.insert(image.end(), initrd.begin(), initrd.end());
  return image;
}

}  // namespace watchsnap
