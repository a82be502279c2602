// ELF vmlinux: each PT_LOAD segment goes to its physical address and the vCPU starts at e_entry,
// which the kernel links as the physical address of startup_64. It wants what a boot loader's
// 64-bit entry gives: RSI = zero page, identity map. Nothing is decompressed or randomised.
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vmm/x86_64/boot_kernel.h"
#include "vmm/x86_64/boot_layout.h"

namespace watchsnap {
namespace {

constexpr int kMaxProgramHeaders = 64;
constexpr uint64_t kMaxNotes = 64 << 10;
constexpr uint64_t kMaxBuildId = 64;
constexpr uint64_t kCommandLineMax = 2047;  // COMMAND_LINE_SIZE - 1, arch/x86/include/asm/setup.h
constexpr uint64_t kKernelAlignment = 2 << 20;

absl::Status Garbled(const HostFile& file, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("kernel '", file.path(),
                                                 "' is not a bootable x86_64 vmlinux: ", what,
                                                 "; copy or build it again, or give the bzImage"));
}

// The descriptor of the GNU build ID note, or empty. Notes are padded to 4 bytes.
std::vector<uint8_t> FindBuildId(absl::Span<const uint8_t> notes) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note;
    std::memcpy(&note, notes.data(), sizeof note);
    const uint64_t name = sizeof note;
    const uint64_t descriptor = name + (uint64_t{note.n_namesz} + 3) / 4 * 4;
    const uint64_t next = descriptor + (uint64_t{note.n_descsz} + 3) / 4 * 4;
    if (descriptor + note.n_descsz > notes.size()) break;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz <= kMaxBuildId &&
        std::memcmp(notes.data() + name, "GNU", 4) == 0) {
      const uint8_t* begin = notes.data() + descriptor;
      return std::vector<uint8_t>(begin, begin + note.n_descsz);
    }
    notes.remove_prefix(std::min<uint64_t>(next, notes.size()));
  }
  return {};
}

absl::Status LoadSegment(const GuestMemory& memory, const HostFile& file,
                         const Elf64_Phdr& segment) {
  if (segment.p_filesz > segment.p_memsz)
    return Garbled(file, "a segment has more bytes than memory");
  if (segment.p_paddr < layout::kHighMemoryStart ||
      segment.p_memsz > std::numeric_limits<uint64_t>::max() - segment.p_paddr) {
    return Garbled(file, absl::StrFormat("a segment of %d bytes lies at physical address %#x",
                                         segment.p_memsz, segment.p_paddr));
  }
  const uint64_t end = segment.p_paddr + segment.p_memsz;
  if (end > LowRamEnd(memory)) {
    return TooLittleMemory(memory, absl::StrCat("kernel '", file.path(), "'"), end);
  }
  absl::StatusOr<absl::Span<uint8_t>> target = memory.Slice(segment.p_paddr, segment.p_filesz);
  if (!target.ok()) return target.status();
  return file.ReadAt(segment.p_offset, *target);
}

}  // namespace

absl::StatusOr<LoadedKernel> LoadElfKernel(const GuestMemory& memory, const HostFile& file) {
  Elf64_Ehdr header;
  absl::Status read =
      file.ReadAt(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(&header), sizeof header));
  if (!read.ok()) return read;
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_EXEC ||
      header.e_machine != EM_X86_64) {
    return Garbled(file, "wanted a 64-bit x86 ELF executable");
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
      header.e_phnum > kMaxProgramHeaders) {
    return Garbled(
        file, absl::StrCat("it has ", header.e_phnum, " program headers of ", header.e_phentsize,
                           " bytes, wanted 1 to ", kMaxProgramHeaders, " of ", sizeof(Elf64_Phdr)));
  }

  LoadedKernel kernel;
  bool entry_loaded = false;
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (header.e_phoff > file.size()) return Garbled(file, "its program headers are past its end");
    read = file.ReadAt(header.e_phoff + i * sizeof segment,
                       absl::MakeSpan(reinterpret_cast<uint8_t*>(&segment), sizeof segment));
    if (!read.ok()) return read;
    if (segment.p_type == PT_LOAD) {
      absl::Status loaded = LoadSegment(memory, file, segment);
      if (!loaded.ok()) return loaded;
      kernel.end = std::max<uint64_t>(kernel.end, segment.p_paddr + segment.p_memsz);
      entry_loaded |=
          header.e_entry >= segment.p_paddr && header.e_entry - segment.p_paddr < segment.p_filesz;
    } else if (segment.p_type == PT_NOTE && kernel.build_id.empty()) {
      std::vector<uint8_t> notes(std::min<uint64_t>(segment.p_filesz, kMaxNotes));
      read = file.ReadAt(segment.p_offset, absl::MakeSpan(notes));
      if (!read.ok()) return read;
      kernel.build_id = FindBuildId(notes);
    }
  }
  if (!entry_loaded) {
    return Garbled(file, absl::StrFormat("its entry %#x is in no loaded segment", header.e_entry));
  }

  kernel.format = "vmlinux";
  kernel.entry = header.e_entry;
  kernel.initrd_max = std::numeric_limits<uint64_t>::max();
  kernel.command_line_max = kCommandLineMax;
  // What a bzImage would say of itself; the kernel looks at few of these.
  kernel.header.boot_flag = 0xaa55;
  kernel.header.header = 0x5372'6448;
  kernel.header.version = 0x20f;
  kernel.header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  kernel.header.kernel_alignment = kKernelAlignment;
  kernel.header.cmdline_size = kCommandLineMax;
  return kernel;
}

}  // namespace watchsnap
