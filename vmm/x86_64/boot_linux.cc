// LoadLinux for x86_64: kernel, initramfs, command line, ACPI tables, page tables and zero page.
#include <asm/bootparam.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vmm/boot/host_file.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/x86_64/acpi_tables.h"
#include "vmm/x86_64/boot_kernel.h"
#include "vmm/x86_64/boot_layout.h"
#include "vmm/x86_64/cpu_state.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

// Types of ACPI 6.5 §15, table 15.2.
constexpr uint32_t kE820Ram = 1;
constexpr uint32_t kE820Reserved = 2;
constexpr uint32_t kE820Acpi = 3;

constexpr uint8_t kLoaderUnknown = 0xff;  // "undefined" boot loader, boot.rst type_of_loader
constexpr uint64_t kPage = 4096;
constexpr uint64_t kInitrdAlign = 4;  // the kernel looks for the next archive at multiples of 4

struct Range {
  uint64_t gpa = 0;
  uint64_t size = 0;
};

absl::StatusOr<LoadedKernel> LoadKernel(const GuestMemory& memory, const std::string& path) {
  absl::StatusOr<HostFile> file = HostFile::Open(path, "kernel");
  if (!file.ok()) return file.status();
  std::vector<uint8_t> head(std::min<uint64_t>(file->size(), kKernelHeadSize));
  absl::Status read = file->ReadAt(0, absl::MakeSpan(head));
  if (!read.ok()) return read;
  absl::StatusOr<KernelFormat> format = DetectKernelFormat(head, path);
  if (!format.ok()) return format.status();
  switch (*format) {
    case KernelFormat::kBzImage:
      return LoadBzImage(memory, *file);
    case KernelFormat::kElfX86_64:
      return LoadElfKernel(memory, *file);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("kernel '", path, "' is an aarch64 ", KernelFormatName(*format),
                       ", this machine is x86_64; give an x86_64 bzImage or vmlinux"));
  }
}

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

// Files, then bytes, one behind the other, as high in low RAM as the kernel allows.
absl::StatusOr<Range> LoadInitrd(const GuestMemory& memory, const LinuxBoot& boot,
                                 const LoadedKernel& kernel) {
  std::vector<HostFile> files;
  uint64_t size = 0;
  for (const std::string& path : boot.initrd_paths) {
    absl::StatusOr<HostFile> file = HostFile::Open(path, "initramfs");
    if (!file.ok()) return file.status();
    size += RoundUp(file->size(), kInitrdAlign);
    files.push_back(*std::move(file));
  }
  size += boot.initrd.size();
  if (size == 0) return Range{};

  const uint64_t ram_end = LowRamEnd(memory);
  const uint64_t top = kernel.initrd_max < ram_end ? kernel.initrd_max + 1 : ram_end;
  if (size > top || (top - size) / kPage * kPage < kernel.end) {
    return TooLittleMemory(
        memory,
        absl::StrFormat("the kernel (up to %#x) and an initramfs of %d bytes", kernel.end, size),
        RoundUp(kernel.end, kPage) + RoundUp(size, kPage));
  }
  const Range range = {(top - size) / kPage * kPage, size};
  uint64_t at = range.gpa;
  for (const HostFile& file : files) {
    absl::StatusOr<absl::Span<uint8_t>> target = memory.Slice(at, file.size());
    if (!target.ok()) return target.status();
    absl::Status read = file.ReadAt(0, *target);
    if (!read.ok()) return read;
    at += RoundUp(file.size(), kInitrdAlign);
  }
  absl::Status written = memory.Write(at, boot.initrd);
  if (!written.ok()) return written;
  return range;
}

absl::Status WriteCommandLine(const GuestMemory& memory, const std::string& line,
                              const LoadedKernel& kernel) {
  const uint64_t limit = std::min(kernel.command_line_max, layout::kCommandLineSpace - 1);
  if (line.size() > limit) {
    return absl::InvalidArgumentError(absl::StrCat("kernel command line of ", line.size(),
                                                   " bytes: this kernel takes at most ", limit,
                                                   "; shorten it"));
  }
  if (line.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("the kernel command line has a NUL in it; remove it");
  }
  return memory.Write(
      layout::kCommandLine,
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(line.c_str()), line.size() + 1));
}

// Writes the reset register, as a BIOS would reset the machine.
absl::Status WriteResetVector(const GuestMemory& memory) {
  const uint8_t code[] = {
      0xba,
      layout::kAcpiReset & 0xff,
      layout::kAcpiReset >> 8,  // mov dx, port
      0xb0,
      layout::kAcpiResetValue,  // mov al, value
      0xee,                     // out dx, al
      0xf4,                     // hlt
      0xeb,
      0xfd,  // jmp to the hlt
  };
  return memory.Write(layout::kResetVector, code);
}

void AddE820(boot_params* params, uint64_t begin, uint64_t end, uint32_t type) {
  if (end > begin) params->e820_table[params->e820_entries++] = {begin, end - begin, type};
}

void FillE820(const GuestMemory& memory, boot_params* params) {
  AddE820(params, 0, layout::kLowRamEnd, kE820Ram);
  AddE820(params, layout::kLowRamEnd, 0xa'0000, kE820Reserved);
  AddE820(params, layout::kAcpiBase, layout::kSystemRom, kE820Acpi);
  AddE820(params, layout::kSystemRom, layout::kHighMemoryStart, kE820Reserved);
  AddE820(params, layout::kHighMemoryStart, LowRamEnd(memory), kE820Ram);
  AddE820(params, layout::kPciEcamBase, layout::kPciEcamBase + layout::kPciEcamSize, kE820Reserved);
  AddE820(params, layout::kKvmIdentityMap, layout::kKvmTss + 3 * kPage, kE820Reserved);
  for (const MemoryRegion& region : memory.regions().subspan(1)) {
    AddE820(params, region.gpa, region.gpa + region.size, kE820Ram);
  }
}

// RAM shared out evenly over the nodes, in address order.
std::vector<AcpiMemory> SplitByNode(const GuestMemory& memory, int nodes) {
  std::vector<AcpiMemory> split;
  const uint64_t share = RoundUp(memory.size() / static_cast<uint64_t>(nodes), 2 << 20);
  int node = 0;
  uint64_t left = share;
  for (const MemoryRegion& region : memory.regions()) {
    uint64_t at = region.gpa, rest = region.size;
    while (rest > 0) {
      const uint64_t part = node == nodes - 1 ? rest : std::min(rest, left);
      split.push_back({at, part, node});
      at += part;
      rest -= part;
      left -= std::min(left, part);
      if (left == 0 && node < nodes - 1) {
        ++node;
        left = share;
      }
    }
  }
  return split;
}

}  // namespace

absl::StatusOr<BootEntry> LoadLinux(const GuestMemory& memory, const LinuxBoot& boot) {
  const CpuTopology topology = boot.topology.value_or(CpuTopology::Flat(boot.vcpus));
  if (boot.vcpus < 1 || topology.vcpus() != boot.vcpus) {
    return absl::InvalidArgumentError(absl::StrCat("a topology of ", topology.vcpus(),
                                                   " CPUs for a machine of ", boot.vcpus,
                                                   " vCPUs; make them agree"));
  }
  absl::StatusOr<LoadedKernel> kernel = LoadKernel(memory, boot.kernel_path);
  if (!kernel.ok()) return kernel.status();
  absl::StatusOr<Range> initrd = LoadInitrd(memory, boot, *kernel);
  if (!initrd.ok()) return initrd.status();
  absl::Status status = WriteCommandLine(memory, boot.command_line, *kernel);
  if (!status.ok()) return status;
  absl::StatusOr<uint64_t> rsdp = BuildAcpiTables(
      memory, {.topology = topology, .memory = SplitByNode(memory, topology.numa_nodes)});
  if (!rsdp.ok()) return rsdp.status();
  status = WriteResetVector(memory);
  if (!status.ok()) return status;
  status = WriteBootTables(memory);
  if (!status.ok()) return status;

  boot_params params = {};
  params.hdr = kernel->header;
  params.hdr.type_of_loader = kLoaderUnknown;
  params.hdr.loadflags |= LOADED_HIGH;
  params.hdr.cmd_line_ptr = static_cast<uint32_t>(layout::kCommandLine);
  params.hdr.ramdisk_image = static_cast<uint32_t>(initrd->gpa);
  params.hdr.ramdisk_size = static_cast<uint32_t>(initrd->size);
  params.acpi_rsdp_addr = *rsdp;
  FillE820(memory, &params);
  status = memory.WriteObject(layout::kZeroPage, params);
  if (!status.ok()) return status;
  return BootEntry{.entry = kernel->entry,
                   .boot_params_gpa = layout::kZeroPage,
                   .format = kernel->format,
                   .build_id = std::move(kernel->build_id)};
}

}  // namespace watchsnap
