// Is the running kernel the one whose symbols we have, and where did KASLR put it?
//
// The slide is *measured*, from addresses that the running kernel gave to the CPU, and is otherwise
// unknown: it is never assumed to be 0. At the measured slide the build ID in guest memory must be
// that of the file; together they make an address of `vmlinux` an address in the guest.
//
//   KaslrEvidence evidence = …;  // from any vCPU's registers, architecture by architecture
//   ASSIGN_OR_RETURN(KaslrSlide slide, MeasureSlide(*kernel, evidence));
//   RETURN_IF_ERROR(VerifyBuildId(*kernel, slide.value, read_kva));
//
// Nothing here knows a virtual machine: registers come as values, memory through a callback.
// Threads: pure functions; the reader is called on the caller's thread only.
// Errors: FailedPrecondition "slide not known …" where the kernel is too early in its boot (try
// again later), or evidence contradicts itself; for another build, the message has both IDs.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_KERNEL_IDENTITY_H_
#define WATCHSNAP_DEBUG_SYMBOLS_KERNEL_IDENTITY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {

// Fills `out` from guest memory at virtual address `kva`, all of it or an error.
using KvaReader = absl::FunctionRef<absl::Status(uint64_t kva, absl::Span<uint8_t> out)>;

// Where one exception goes: x86_64 an IDT gate.
struct ExceptionGate {
  int vector = 0;
  uint64_t handler = 0;  // run-time KVA
};

// What the CPU was told. Leave out what is not known; zero is what an early kernel has.
struct KaslrEvidence {
  uint64_t syscall_entry = 0;        // x86_64: MSR_LSTAR
  std::vector<ExceptionGate> gates;  // x86_64: ReadIdtGates (x86_64/idt.h)
};

struct KaslrSlide {
  uint64_t value = 0;  // run-time KVA = link-time KVA + value
  std::string source;  // for reports: "MSR_LSTAR", "IDT gates"
};

// Implemented for each architecture.
absl::StatusOr<KaslrSlide> MeasureSlide(const KernelSymbols& kernel, const KaslrEvidence& evidence);

// The kernel's notes, between __start_notes and __stop_notes at `slide`, must hold the file's build
// ID. Errors also where the file has none, or the memory cannot be read.
absl::Status VerifyBuildId(const KernelSymbols& kernel, uint64_t slide, KvaReader reader);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_KERNEL_IDENTITY_H_
