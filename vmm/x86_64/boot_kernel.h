// Loads an x86_64 kernel file into guest memory: what LoadLinux does first.
//
// Threads: call before any vCPU runs. Every field of the file is hostile: nothing is written
// outside guest RAM above 1 MiB and no size of the file controls an allocation. Memory must be
// zeros. Sources: Documentation/arch/x86/boot.rst; ELF gABI; kernel entry
// arch/x86/kernel/head_64.S.
#ifndef WATCHSNAP_VMM_X86_64_BOOT_KERNEL_H_
#define WATCHSNAP_VMM_X86_64_BOOT_KERNEL_H_

#include <asm/bootparam.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/boot/host_file.h"
#include "vmm/guest_memory.h"

namespace watchsnap {

struct LoadedKernel {
  std::string format;
  uint64_t entry = 0;             // 64-bit entry point, GPA
  uint64_t end = 0;               // the kernel needs the memory up to here while it starts
  uint64_t initrd_max = 0;        // highest GPA an initramfs byte may have
  uint64_t command_line_max = 0;  // bytes, without the NUL
  setup_header header = {};       // goes into the zero page
  std::vector<uint8_t> build_id;
};

absl::StatusOr<LoadedKernel> LoadBzImage(const GuestMemory& memory, const HostFile& file);
absl::StatusOr<LoadedKernel> LoadElfKernel(const GuestMemory& memory, const HostFile& file);

// The end of RAM below the 32-bit device hole.
uint64_t LowRamEnd(const GuestMemory& memory);

// ResourceExhausted: how much memory there is and how much is needed for `what`.
absl::Status TooLittleMemory(const GuestMemory& memory, std::string_view what, uint64_t needed);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_X86_64_BOOT_KERNEL_H_
