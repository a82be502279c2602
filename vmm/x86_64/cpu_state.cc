#include "vmm/x86_64/cpu_state.h"

#include <cstring>

#include "vmm/x86_64/boot_layout.h"

namespace watchsnap {
namespace {

// Selectors of the boot protocol: __BOOT_CS and __BOOT_DS; then a TSS, which long mode wants
// loaded.
constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTaskSelector = 0x20;

// Descriptor types (SDM vol. 3 §3.4.5.1, §3.5).
constexpr uint8_t kCodeType = 0xb;  // execute, read, accessed
constexpr uint8_t kDataType = 0x3;  // read, write, accessed
constexpr uint8_t kBusyTss = 0xb;

constexpr uint64_t kCr0 = 0x8000'0033;  // PG, NE, ET, MP, PE
constexpr uint64_t kCr4 = 0x620;        // OSXMMEXCPT, OSFXSR (SSE for bare guests), PAE
constexpr uint64_t kEfer = 0x500;       // LMA, LME

constexpr uint64_t kPresent = 1 << 0;
constexpr uint64_t kWritable = 1 << 1;
constexpr uint64_t kLarge = 1 << 7;

constexpr uint32_t kMsrMiscEnable = 0x1a0;
constexpr uint64_t kFastStrings = 1;
constexpr uint32_t kMsrMtrrDefaultType = 0x2ff;
constexpr uint64_t kMtrrEnableWriteBack = 1 << 11 | 6;

kvm_segment Segment(uint16_t selector, uint8_t type, bool code) {
  kvm_segment segment = {};
  segment.limit = 0xffff'ffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = code;
  segment.db = !code;
  return segment;
}

uint64_t Descriptor(const kvm_segment& segment) {
  const uint64_t limit = segment.g ? segment.limit >> 12 : segment.limit;
  return (limit & 0xffff) | (limit >> 16 & 0xf) << 48 | uint64_t{segment.type} << 40 |
         uint64_t{segment.s} << 44 | uint64_t{segment.present} << 47 | uint64_t{segment.l} << 53 |
         uint64_t{segment.db} << 54 | uint64_t{segment.g} << 55;
}

kvm_segment TaskSegment() {
  kvm_segment segment = {};
  segment.limit = 0x67;
  segment.selector = kTaskSelector;
  segment.type = kBusyTss;
  segment.present = 1;
  return segment;
}

kvm_segment CodeSegment() { return Segment(kCodeSelector, kCodeType, true); }
kvm_segment DataSegment() { return Segment(kDataSelector, kDataType, false); }

}  // namespace

absl::Status WriteBootTables(const GuestMemory& memory) {
  const uint64_t gdt[] = {
      0, 0, Descriptor(CodeSegment()), Descriptor(DataSegment()), Descriptor(TaskSegment()), 0};
  absl::Status status = memory.WriteObject(layout::kGdt, gdt);
  if (!status.ok()) return status;

  // Seven pages: PML4, the pointer tables of the low and the high map, four directories of 1 GiB.
  constexpr uint64_t kEntries = 512;
  uint64_t tables[7][kEntries] = {};
  const auto page = [](uint64_t index) { return layout::kPageTables + index * sizeof tables[0]; };
  tables[0][0] = page(1) | kPresent | kWritable;
  tables[0][kHighMapBase >> 39 & 511] = page(2) | kPresent | kWritable;
  tables[2][kHighMapBase >> 30 & 511] = page(3) | kPresent | kWritable;
  for (uint64_t gib = 0; gib < 4; ++gib) {
    tables[1][gib] = page(3 + gib) | kPresent | kWritable;
    for (uint64_t i = 0; i < kEntries; ++i) {
      tables[3 + gib][i] = (gib * kEntries + i) << 21 | kPresent | kWritable | kLarge;
    }
  }
  return memory.WriteObject(layout::kPageTables, tables);
}

void SetLongMode(kvm_sregs* sregs) {
  sregs->cs = CodeSegment();
  sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = DataSegment();
  sregs->tr = TaskSegment();
  sregs->ldt = {};
  sregs->ldt.unusable = 1;
  sregs->gdt = {};
  sregs->gdt.base = layout::kGdt;
  sregs->gdt.limit = 6 * sizeof(uint64_t) - 1;
  sregs->idt = {};
  sregs->cr0 = kCr0;
  sregs->cr2 = 0;
  sregs->cr3 = layout::kPageTables;
  sregs->cr4 = kCr4;
  sregs->cr8 = 0;
  sregs->efer = kEfer;
  std::memset(sregs->interrupt_bitmap, 0, sizeof sregs->interrupt_bitmap);
}

kvm_regs LinuxEntryRegs(const BootEntry& entry) {
  kvm_regs regs = {};
  regs.rip = entry.entry;
  regs.rsi = entry.boot_params_gpa;
  regs.rsp = layout::kZeroPage;  // grows down into free memory; both entries soon set their own
  regs.rflags = 2;
  return regs;
}

kvm_regs BareGuestRegs(uint64_t entry, uint64_t stack, uint64_t argument) {
  kvm_regs regs = {};
  regs.rip = entry;
  regs.rsp = stack;
  regs.rdi = argument;
  regs.rflags = 2;
  return regs;
}

kvm_fpu InitialFpu() {
  kvm_fpu fpu = {};
  fpu.fcw = 0x37f;
  fpu.mxcsr = 0x1f80;
  return fpu;
}

std::vector<kvm_msr_entry> InitialMsrs() {
  return {{.index = kMsrMiscEnable, .reserved = 0, .data = kFastStrings},
          {.index = kMsrMtrrDefaultType, .reserved = 0, .data = kMtrrEnableWriteBack}};
}

}  // namespace watchsnap
