// The KASLR slide of an x86_64 kernel: where it told the CPU to go, against where it was linked.
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "debug/symbols/kernel_identity.h"

namespace watchsnap {
namespace {

// arch/x86/Kconfig: PHYSICAL_ALIGN is at least 2 MB on x86_64, and RANDOMIZE_BASE keeps the image
// within KERNEL_IMAGE_SIZE, 1 GB.
constexpr uint64_t kSlideAlignment = uint64_t{2} << 20;
constexpr uint64_t kMaxSlide = uint64_t{1} << 30;

// arch/x86/include/asm/idtentry.h. Until the kernel's trap_init the gates lead elsewhere
// (early_idt_handler_array), and then the differences disagree.
struct KnownGate {
  int vector;
  std::string_view symbol;
};
constexpr std::array<KnownGate, 6> kKnownGates = {{
    {0, "asm_exc_divide_error"},
    {5, "asm_exc_bounds"},
    {6, "asm_exc_invalid_op"},
    {7, "asm_exc_device_not_available"},
    {13, "asm_exc_general_protection"},
    {14, "asm_exc_page_fault"},
}};
constexpr size_t kEnoughGates = 2;

bool IsValidSlide(uint64_t slide) { return slide < kMaxSlide && slide % kSlideAlignment == 0; }

std::optional<uint64_t> SlideOfSyscall(const KernelSymbols& kernel, uint64_t lstar,
                                       std::string& why_not) {
  if (lstar == 0) {
    why_not = "MSR_LSTAR is 0: the kernel has not set up system calls yet, or uses FRED, which the "
              "guest's CPUID must hide";
    return std::nullopt;
  }
  const absl::StatusOr<uint64_t> entry = kernel.AddressOf("entry_SYSCALL_64");
  if (!entry.ok()) {
    why_not = std::string(entry.status().message());
    return std::nullopt;
  }
  const uint64_t slide = lstar - *entry;
  if (IsValidSlide(slide)) return slide;
  why_not = absl::StrFormat("MSR_LSTAR 0x%x is not entry_SYSCALL_64 (0x%x) plus a multiple of 2 MB "
                            "below 1 GB", lstar, *entry);
  return std::nullopt;
}

std::optional<uint64_t> SlideOfGates(const KernelSymbols& kernel,
                                     absl::Span<const ExceptionGate> gates, std::string& why_not) {
  std::optional<uint64_t> slide;
  size_t agreeing = 0;
  for (const ExceptionGate& gate : gates) {
    for (const KnownGate& known : kKnownGates) {
      if (gate.vector != known.vector) continue;
      const absl::StatusOr<uint64_t> handler = kernel.AddressOf(known.symbol);
      if (!handler.ok()) continue;
      const uint64_t difference = gate.handler - *handler;
      if (!IsValidSlide(difference) || (slide.has_value() && *slide != difference)) {
        why_not = absl::StrFormat("IDT gate %d leads to 0x%x, which does not fit %s at 0x%x and "
                                  "the other gates", gate.vector, gate.handler, known.symbol,
                                  *handler);
        return std::nullopt;
      }
      slide = difference;
      ++agreeing;
    }
  }
  if (agreeing >= kEnoughGates) return slide;
  why_not = absl::StrFormat("%d known IDT gates, at least %d are wanted", agreeing, kEnoughGates);
  return std::nullopt;
}

}  // namespace

absl::StatusOr<KaslrSlide> MeasureSlide(const KernelSymbols& kernel,
                                        const KaslrEvidence& evidence) {
  std::string no_syscall;
  std::string no_gates;
  const std::optional<uint64_t> by_syscall =
      SlideOfSyscall(kernel, evidence.syscall_entry, no_syscall);
  const std::optional<uint64_t> by_gates = SlideOfGates(kernel, evidence.gates, no_gates);
  if (by_syscall.has_value() && by_gates.has_value() && *by_syscall != *by_gates) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "slide not known: MSR_LSTAR says 0x%x and the IDT gates say 0x%x. The vmlinux '%s' is "
        "probably of another build than the running kernel",
        *by_syscall, *by_gates, kernel.path()));
  }
  if (by_syscall.has_value()) return KaslrSlide{*by_syscall, "MSR_LSTAR"};
  if (by_gates.has_value()) return KaslrSlide{*by_gates, "IDT gates"};
  return absl::FailedPreconditionError(absl::StrCat(
      "slide not known: ", no_syscall, "; ", no_gates,
      ". The kernel is still early in its boot, or '", kernel.path(),
      "' is the vmlinux of another build than the running kernel"));
}

}  // namespace watchsnap
