// DetectKernelFormat: tells kernel files apart by their first bytes.
//
// Pure function, any thread. Sources: Documentation/arch/x86/boot.rst (boot flag, "HdrS"),
// Documentation/arch/arm64/booting.rst (magic at 56), ELF gABI (e_ident, e_machine).
#ifndef WATCHSNAP_VMM_BOOT_KERNEL_IMAGE_H_
#define WATCHSNAP_VMM_BOOT_KERNEL_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap {

enum class KernelFormat {
  kBzImage,     // x86 compressed kernel
  kElfX86_64,   // x86_64 vmlinux
  kElfAarch64,  // aarch64 vmlinux: symbols only, not bootable as it is
  kArm64Image,  // aarch64 raw Image
};

// As shown to people: "bzImage", "vmlinux", "Image".
std::string_view KernelFormatName(KernelFormat format);

// How much of a file's head DetectKernelFormat wants; fewer bytes are fine for a shorter file.
inline constexpr size_t kKernelHeadSize = 1024;

// `path` is for the message: what was found instead of a kernel, and what to give.
absl::StatusOr<KernelFormat> DetectKernelFormat(absl::Span<const uint8_t> head,
                                                std::string_view path);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_BOOT_KERNEL_IMAGE_H_
