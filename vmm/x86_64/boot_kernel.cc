#include "vmm/x86_64/boot_kernel.h"

#include "absl/strings/str_format.h"

namespace watchsnap {

uint64_t LowRamEnd(const GuestMemory& memory) {
  return memory.regions().empty() ? 0 : memory.regions().front().size;
}

absl::Status TooLittleMemory(const GuestMemory& memory, std::string_view what, uint64_t needed) {
  constexpr uint64_t kMiB = 1 << 20;
  return absl::ResourceExhaustedError(
      absl::StrFormat("guest memory of %d MiB is too small for %s: it needs RAM up to %d MiB "
                      "(below the device hole); "
                      "give the machine more memory",
                      memory.size() / kMiB, what, needed / kMiB + (needed % kMiB != 0)));
}

}  // namespace watchsnap
