#include "debug/kernel/per_cpu.h"

#include "absl/strings/str_cat.h"

namespace watchsnap {

absl::StatusOr<PerCpu> PerCpu::Create(const KernelSymbols& symbols, uint64_t slide,
                                      MemoryReader& memory, int cpus) {
  const absl::StatusOr<uint64_t> table = symbols.AddressOf("__per_cpu_offset");
  if (!table.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("per-CPU variables cannot be found: ", table.status().message()));
  }
  std::vector<uint64_t> offsets(static_cast<size_t>(cpus));
  for (size_t cpu = 0; cpu < offsets.size(); ++cpu) {
    if (!memory.Load(*table + slide + 8 * cpu, offsets[cpu])) {
      return absl::FailedPreconditionError(absl::StrCat(
          "per-CPU variables cannot be found: __per_cpu_offset[", cpu, "] at 0x",
          absl::Hex(*table + slide + 8 * cpu), " is not readable in the guest"));
    }
  }
  // Until 6.14 the section was linked at 0 and its symbols were offsets, which KASLR does not move.
  const ElfSection* section = symbols.elf().FindSection(".data..percpu");
  return PerCpu(std::move(offsets), section != nullptr && section->address != 0 ? slide : 0);
}

}  // namespace watchsnap
