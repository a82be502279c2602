#include "debug/stacks/stack_extents.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

constexpr uint64_t kPage = 4096;
// The upper half with 5-level paging, which holds that of 4 levels
// (Documentation/arch/x86/x86_64/mm.rst).
constexpr uint64_t kKernelHalf = 0xff00'0000'0000'0000;
constexpr int kMaxExceptionStacks = 16;
// struct x86_hw_tss begins with u32 reserved1, u64 sp0 (packed).
constexpr uint64_t kTssSp0 = 4;

class PerCpuReader {
 public:
  PerCpuReader(const KernelSymbols& symbols, uint64_t slide, StackExtents::Reader read)
      : symbols_(symbols), slide_(slide), read_(read) {
    // Until 6.14 the per-CPU section was linked at 0 and its symbols were offsets, which KASLR does
    // not move.
    const ElfSection* section = symbols.elf().FindSection(".data..percpu");
    symbol_slide_ = section != nullptr && section->address != 0 ? slide : 0;
  }

  absl::StatusOr<uint64_t> OffsetOf(int cpu) const {
    absl::StatusOr<uint64_t> table = symbols_.AddressOf("__per_cpu_offset");
    if (!table.ok()) return table.status();
    return ReadWord(*table + slide_ + 8 * static_cast<uint64_t>(cpu));
  }

  // The word at `name` + `offset` of a CPU; nothing if the kernel has no such variable, or no
  // kernel address in it.
  std::optional<uint64_t> Pointer(uint64_t cpu_offset, std::string_view name,
                                  uint64_t offset = 0) const {
    absl::StatusOr<uint64_t> address = symbols_.AddressOf(name);
    if (!address.ok()) return std::nullopt;
    absl::StatusOr<uint64_t> value = ReadWord(cpu_offset + *address + symbol_slide_ + offset);
    if (!value.ok() || *value < kKernelHalf) return std::nullopt;
    return *value;
  }

 private:
  absl::StatusOr<uint64_t> ReadWord(uint64_t kva) const {
    uint64_t word = 0;
    absl::Status status =
        read_(kva, absl::MakeSpan(reinterpret_cast<uint8_t*>(&word), sizeof word));
    if (!status.ok()) return status;
    return word;
  }

  const KernelSymbols& symbols_;
  const uint64_t slide_;
  const StackExtents::Reader read_;
  uint64_t symbol_slide_ = 0;
};

// THREAD_SIZE: the kernel's linker script gives the first task's stack that size.
uint64_t ThreadSize(const KernelSymbols& symbols) {
  const absl::StatusOr<uint64_t> begin = symbols.AddressOf("__start_init_stack");
  const absl::StatusOr<uint64_t> end = symbols.AddressOf("__end_init_stack");
  if (begin.ok() && end.ok()) {
    for (uint64_t size : {uint64_t{16} << 10, uint64_t{32} << 10, uint64_t{64} << 10}) {
      if (*end - *begin == size) return size;
    }
  }
  return 16 << 10;
}

// How many exception stacks a CPU has: as many as their per-CPU storage has room for.
int ExceptionStackCount(const KernelSymbols& symbols, uint64_t stack_size) {
  const std::vector<SymbolEntry> entries = symbols.Lookup("exception_stacks");
  if (entries.size() != 1) return 0;
  return static_cast<int>(std::min<uint64_t>(entries[0].size / stack_size, kMaxExceptionStacks));
}

}  // namespace

absl::StatusOr<StackExtents> StackExtents::Create(const KernelSymbols& symbols, uint64_t slide,
                                                  Reader read, int cpus) {
  StackExtents extents;
  extents.thread_size_ = ThreadSize(symbols);
  // THREAD_SIZE_ORDER is 2, EXCEPTION_STACK_ORDER 1, and KASAN adds the same to both.
  const uint64_t exception_size = extents.thread_size_ / 2;
  const int exception_stacks = ExceptionStackCount(symbols, exception_size);
  const PerCpuReader per_cpu(symbols, slide, read);
  for (int cpu = 0; cpu < cpus; ++cpu) {
    absl::StatusOr<uint64_t> offset = per_cpu.OffsetOf(cpu);
    if (!offset.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the stacks of CPU ", cpu,
                       ": __per_cpu_offset cannot be read: ", offset.status().message()));
    }
    // hardirq_stack_ptr: the last word of the stack.
    if (const auto top = per_cpu.Pointer(*offset, "hardirq_stack_ptr"); top.has_value()) {
      extents.stacks_.push_back({.kind = StackExtent::Kind::kIrq,
                                 .begin = *top + 8 - extents.thread_size_,
                                 .end = *top + 8,
                                 .previous_sp_at = *top});
    }
    // struct cea_exception_stacks: a page that is not mapped before each.
    if (const auto base = per_cpu.Pointer(*offset, "cea_exception_stacks"); base.has_value()) {
      for (int i = 0; i < exception_stacks; ++i) {
        const uint64_t begin = *base + static_cast<uint64_t>(i) * (kPage + exception_size) + kPage;
        const uint64_t end = begin + exception_size;
        extents.stacks_.push_back({.kind = StackExtent::Kind::kException,
                                   .begin = begin,
                                   .end = end,
                                   .previous_sp_at = end - 16,
                                   .previous_cs_at = end - 32});
      }
    }
    if (const auto top = per_cpu.Pointer(*offset, "cpu_tss_rw", kTssSp0); top.has_value()) {
      extents.stacks_.push_back(
          {.kind = StackExtent::Kind::kEntry, .begin = *top - kPage, .end = *top});
    }
  }
  std::sort(extents.stacks_.begin(), extents.stacks_.end(),
            [](const StackExtent& a, const StackExtent& b) { return a.begin < b.begin; });
  return extents;
}

StackExtent StackExtents::Find(uint64_t sp) const {
  auto it = std::upper_bound(
      stacks_.begin(), stacks_.end(), sp,
      [](uint64_t address, const StackExtent& stack) { return address < stack.begin; });
  if (it != stacks_.begin() && sp < (--it)->end) return *it;
  if (sp < kKernelHalf || sp > ~uint64_t{0} - thread_size_) return {};
  const uint64_t begin = sp & ~(thread_size_ - 1);
  return {.kind = StackExtent::Kind::kTask, .begin = begin, .end = begin + thread_size_};
}

}  // namespace watchsnap
