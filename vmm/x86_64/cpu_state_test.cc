// The page tables are tested in page_walk_test, through the walk; here the segments.
#include "vmm/x86_64/cpu_state.h"

#include "gtest/gtest.h"
#include "vmm/x86_64/boot_layout.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

TEST(CpuState, SegmentRegistersSayWhatTheirDescriptorsSay) {
  auto memory = GuestMemory::Create(4 << 20, layout::kDeviceHoleStart);
  ASSERT_TRUE(memory.ok());
  ASSERT_TRUE(WriteBootTables(**memory).ok());
  kvm_sregs sregs = {};
  sregs.apic_base = 0xfee0'0900;
  SetLongMode(&sregs);
  EXPECT_EQ(sregs.apic_base, 0xfee0'0900u);
  for (const kvm_segment* segment :
       {&sregs.cs, &sregs.ds, &sregs.es, &sregs.fs, &sregs.gs, &sregs.ss, &sregs.tr}) {
    ASSERT_LT(segment->selector + 7, sregs.gdt.limit + 1);
    const uint64_t descriptor =
        (*memory)->ReadObject<uint64_t>(sregs.gdt.base + segment->selector).value();
    EXPECT_EQ(descriptor >> 40 & 0xf, segment->type);
    EXPECT_EQ(descriptor >> 44 & 1, segment->s);
    EXPECT_EQ(descriptor >> 47 & 1, segment->present);
    EXPECT_EQ(descriptor >> 53 & 1, segment->l);
    EXPECT_EQ(descriptor >> 54 & 1, segment->db);
    const uint64_t limit = (descriptor & 0xffff) | (descriptor >> 48 & 0xf) << 16;
    EXPECT_EQ(segment->g ? limit << 12 | 0xfff : limit, segment->limit);
  }
  // Selectors that the boot protocol fixes.
  EXPECT_EQ(sregs.cs.selector, 0x10);
  EXPECT_EQ(sregs.ds.selector, 0x18);
  EXPECT_TRUE(sregs.cs.l && !sregs.cs.db) << "64-bit code";
}

TEST(CpuState, EntryRegisters) {
  const kvm_regs linux = LinuxEntryRegs({.entry = 0x100'0200, .boot_params_gpa = 0x7000});
  EXPECT_EQ(linux.rip, 0x100'0200u);
  EXPECT_EQ(linux.rsi, 0x7000u);
  EXPECT_EQ(linux.rflags, 2u) << "interrupts off";
  const kvm_regs bare = BareGuestRegs(kHighMapBase + 0x10'0000, 0x4'1000, 7);
  EXPECT_EQ(bare.rip, kHighMapBase + 0x10'0000);
  EXPECT_EQ(bare.rsp, 0x4'1000u);
  EXPECT_EQ(bare.rdi, 7u);
}

}  // namespace
}  // namespace watchsnap
