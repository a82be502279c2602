// LoadLinux: puts a Linux kernel, its initramfs, command line and firmware tables into guest
// memory.
//
// Arch-neutral front; the work is done in ../x86_64/ (bzImage or ELF vmlinux, ACPI tables, zero
// page). Threads: call once, before any vCPU runs. Guest memory must be as created (zeros).
// Ownership: nothing is kept; files are closed on return.
// Units: GPA are guest-physical addresses; sizes are bytes.
// Errors: a message says which file or value, what was wanted, what was found and what to do.
#ifndef WATCHSNAP_VMM_BOOT_LINUX_LOADER_H_
#define WATCHSNAP_VMM_BOOT_LINUX_LOADER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/boot/cpu_topology.h"
#include "vmm/guest_memory.h"

namespace watchsnap {

struct LinuxBoot {
  std::string kernel_path;
  // The initramfs is the files of `initrd_paths` in order, then `initrd`: what comes later replaces
  // earlier files of the same name. Each may be compressed. All empty: no initramfs.
  std::vector<std::string> initrd_paths;
  std::vector<uint8_t> initrd;
  std::string command_line;
  int vcpus = 1;
  // Default: CpuTopology::Flat(vcpus).
  std::optional<CpuTopology> topology;
};

struct BootEntry {
  uint64_t entry = 0;            // GPA; equals the virtual address under the identity map
  uint64_t boot_params_gpa = 0;  // x86: the zero page
  std::string format;            // "bzImage" or "vmlinux"
  // GNU build ID of the kernel, where the file shows it (an ELF vmlinux does); otherwise empty.
  std::vector<uint8_t> build_id;
};

absl::StatusOr<BootEntry> LoadLinux(const GuestMemory& memory, const LinuxBoot& boot);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_BOOT_LINUX_LOADER_H_
