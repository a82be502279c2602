// bzImage: the setup header at 0x1f1 describes the file; the protected-mode code after the setup
// sectors is loaded whole, and its 64-bit entry is 0x200 bytes in (boot.rst, "64-bit boot
// protocol").
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vmm/x86_64/boot_kernel.h"
#include "vmm/x86_64/boot_layout.h"

namespace watchsnap {
namespace {

constexpr uint64_t kHeaderOffset = 0x1f1;
constexpr uint64_t kHeaderEndField = 0x201;  // the header ends at 0x202 + this byte
constexpr uint64_t kEntryOffset = 0x200;
constexpr uint16_t kBootFlag = 0xaa55;
constexpr uint32_t kMagic = 0x5372'6448;        // "HdrS"
constexpr uint16_t kVersionXloadflags = 0x20c;  // first protocol with xloadflags
constexpr uint32_t kDefaultSetupSectors = 4;

}  // namespace

absl::StatusOr<LoadedKernel> LoadBzImage(const GuestMemory& memory, const HostFile& file) {
  uint8_t head[kHeaderOffset + sizeof(setup_header)];
  absl::Status read = file.ReadAt(0, absl::MakeSpan(head));
  if (!read.ok()) return read;

  // Only as much as the file says is its header: later fields are zero to this kernel.
  LoadedKernel kernel;
  const uint64_t header_end = 0x202u + head[kHeaderEndField];
  const uint64_t header_size = std::min<uint64_t>(header_end - kHeaderOffset, sizeof(setup_header));
  std::memcpy(&kernel.header, head + kHeaderOffset, header_size);
  const setup_header& header = kernel.header;
  if (header.boot_flag != kBootFlag || header.header != kMagic) {
    return absl::InvalidArgumentError(absl::StrCat(
        "kernel '", file.path(), "' has no bzImage header; give a bzImage or a vmlinux"));
  }
  if (header.version < kVersionXloadflags || (header.xloadflags & XLF_KERNEL_64) == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "kernel '%s' has no 64-bit entry (boot protocol %d.%02d, xloadflags %#x): wanted protocol "
        "2.12 "
        "with XLF_KERNEL_64; give an x86_64 kernel",
        file.path(), header.version >> 8, header.version & 0xff, header.xloadflags));
  }

  const uint64_t setup_sectors =
      header.setup_sects == 0 ? kDefaultSetupSectors : header.setup_sects;
  const uint64_t code_offset = (setup_sectors + 1) * 512;
  if (file.size() <= code_offset + kEntryOffset) {
    return absl::DataLossError(absl::StrCat("kernel '", file.path(),
                                            "' is cut short: ", file.size(),
                                            " bytes, its setup alone has ", code_offset));
  }
  const uint64_t code_size = file.size() - code_offset;
  const uint64_t load = header.pref_address;
  const uint64_t needed = std::max<uint64_t>(header.init_size, code_size);
  if (load < layout::kHighMemoryStart || load > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("kernel '%s' is garbled: it prefers the address %#x, wanted 1 MiB to 4 GiB",
                        file.path(), load));
  }
  if (load + needed > LowRamEnd(memory)) {
    return TooLittleMemory(memory, absl::StrCat("kernel '", file.path(), "'"), load + needed);
  }
  absl::StatusOr<absl::Span<uint8_t>> target = memory.Slice(load, code_size);
  if (!target.ok()) return target.status();
  read = file.ReadAt(code_offset, *target);
  if (!read.ok()) return read;

  kernel.format = "bzImage";
  kernel.entry = load + kEntryOffset;
  kernel.end = load + needed;
  kernel.initrd_max = (header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) != 0
                          ? std::numeric_limits<uint64_t>::max()
                          : header.initrd_addr_max;
  kernel.command_line_max = header.cmdline_size;
  return kernel;
}

}  // namespace watchsnap
