#include "vmm/boot/kernel_image.h"

#include <elf.h>

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

bool HasAt(absl::Span<const uint8_t> head, size_t offset, std::string_view magic) {
  return head.size() >= offset + magic.size() &&
         std::equal(magic.begin(), magic.end(), head.begin() + offset,
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

uint16_t Half(absl::Span<const uint8_t> head, size_t offset) {
  return head.size() < offset + 2 ? 0 : static_cast<uint16_t>(head[offset] | head[offset + 1] << 8);
}

// What a file that is no kernel seems to be, and what to do about it.
std::string Describe(absl::Span<const uint8_t> head) {
  if (head.empty()) return "an empty file";
  if (HasAt(head, 0, "\x1f\x8b")) return "gzip data; decompress it first";
  if (HasAt(head, 0, "\x28\xb5\x2f\xfd")) return "zstd data; decompress it first";
  if (HasAt(head, 1, "7zXZ")) return "xz data; decompress it first";
  if (HasAt(head, 0, "!<arch>")) return "an ar archive (a .deb?); unpack it first";
  if (HasAt(head, 0, "07070")) return "a cpio archive; is it the initramfs?";
  if (HasAt(head, 0, ELFMAG)) {
    return absl::StrCat("an ELF file of class ", head.size() > EI_CLASS ? head[EI_CLASS] : 0,
                        ", type ", Half(head, 16), ", machine ", Half(head, 18));
  }
  return "something else";
}

}  // namespace

std::string_view KernelFormatName(KernelFormat format) {
  switch (format) {
    case KernelFormat::kBzImage:
      return "bzImage";
    case KernelFormat::kElfX86_64:
    case KernelFormat::kElfAarch64:
      return "vmlinux";
    case KernelFormat::kArm64Image:
      return "Image";
  }
  return "unknown";
}

absl::StatusOr<KernelFormat> DetectKernelFormat(absl::Span<const uint8_t> head,
                                                std::string_view path) {
  if (HasAt(head, 0x1fe, "\x55\xaa") && HasAt(head, 0x202, "HdrS")) return KernelFormat::kBzImage;
  if (HasAt(head, 56, "ARM\x64")) return KernelFormat::kArm64Image;
  if (HasAt(head, 0, ELFMAG) && head.size() >= sizeof(Elf64_Ehdr) && head[EI_CLASS] == ELFCLASS64 &&
      head[EI_DATA] == ELFDATA2LSB && Half(head, 16) == ET_EXEC) {
    if (Half(head, 18) == EM_X86_64) return KernelFormat::kElfX86_64;
  }
  // arm64 links vmlinux as ET_DYN where it is relocatable.
  if (HasAt(head, 0, ELFMAG) && head.size() >= sizeof(Elf64_Ehdr) && head[EI_CLASS] == ELFCLASS64 &&
      head[EI_DATA] == ELFDATA2LSB && Half(head, 18) == EM_AARCH64) {
    return KernelFormat::kElfAarch64;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", path,
                   "' is not a kernel: wanted an x86 bzImage, an ELF vmlinux or an arm64 "
                   "Image, found ",
                   Describe(head)));
}

}  // namespace watchsnap
