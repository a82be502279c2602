// Where each CPU's copy of a per-CPU variable is: the table __per_cpu_offset, read once. The kernel
// fills it when it boots, for all CPUs it may ever have, and leaves it so.
//
//   ASSIGN_OR_RETURN(PerCpu per_cpu, PerCpu::Create(*symbols, slide, memory, cpus));
//   per_cpu.AddressOf(cpu, per_cpu.SymbolAt(link_address))   // the variable of that CPU
//   per_cpu.AddressOf(cpu, pointer)                          // of memory that alloc_percpu gave out
//
// Threads: immutable. Units: KVAs; link-time addresses where a name says so. Guest input: the offsets
// are only ever added; what is read at the sums is somebody else's to check.
// Sources: Linux include/asm-generic/percpu.h, arch/x86/kernel/setup_percpu.c.
#ifndef WATCHSNAP_DEBUG_KERNEL_PER_CPU_H_
#define WATCHSNAP_DEBUG_KERNEL_PER_CPU_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "debug/memory_reader.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {

class PerCpu {
 public:
  // FailedPrecondition if the table cannot be found or read.
  static absl::StatusOr<PerCpu> Create(const KernelSymbols& symbols, uint64_t slide,
                                       MemoryReader& memory, int cpus);
  // As given; for tests.
  explicit PerCpu(std::vector<uint64_t> offsets, uint64_t symbol_slide = 0)
      : offsets_(std::move(offsets)), symbol_slide_(symbol_slide) {}

  int cpus() const { return static_cast<int>(offsets_.size()); }
  // The run-time per-CPU address of a symbol of .data..percpu.
  uint64_t SymbolAt(uint64_t link_address) const { return link_address + symbol_slide_; }
  uint64_t AddressOf(int cpu, uint64_t per_cpu_address) const {
    return offsets_[static_cast<size_t>(cpu)] + per_cpu_address;
  }

 private:
  std::vector<uint64_t> offsets_;  // by CPU
  uint64_t symbol_slide_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_PER_CPU_H_
