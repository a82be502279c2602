// LoadLinux on made-up kernels: good ones, and ones with every field hostile.
#include <asm/bootparam.h>
#include <elf.h>

#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/x86_64/boot_layout.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

std::string WriteFile(const std::string& name, const std::string& content) {
  std::string path = ::testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

constexpr size_t kSetupSize = 2 * 512;

setup_header GoodHeader() {
  setup_header header = {};
  header.setup_sects = 1;
  header.boot_flag = 0xaa55;
  header.jump = 0xeb | (0x202 + 0x6e - 0x202) << 8;
  header.header = 0x5372'6448;
  header.version = 0x20f;
  header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  header.initrd_addr_max = 0x7fff'ffff;
  header.cmdline_size = 100;
  header.pref_address = 16 * kMiB;
  header.init_size = 4 * kMiB;
  return header;
}

std::string BzImage(const setup_header& header, size_t code_size = 0x3000) {
  std::string image(kSetupSize + code_size, '\x90');
  std::memset(image.data(), 0, kSetupSize);
  std::memcpy(image.data() + 0x1f1, &header, sizeof header);
  image[kSetupSize] = 'C';
  return image;
}

struct ElfParts {
  Elf64_Ehdr header = {};
  Elf64_Phdr load = {};
  Elf64_Phdr note = {};
};

ElfParts GoodElf() {
  ElfParts parts;
  std::memcpy(parts.header.e_ident, ELFMAG, SELFMAG);
  parts.header.e_ident[EI_CLASS] = ELFCLASS64;
  parts.header.e_ident[EI_DATA] = ELFDATA2LSB;
  parts.header.e_type = ET_EXEC;
  parts.header.e_machine = EM_X86_64;
  parts.header.e_entry = 16 * kMiB + 0x40;
  parts.header.e_phoff = sizeof(Elf64_Ehdr);
  parts.header.e_phentsize = sizeof(Elf64_Phdr);
  parts.header.e_phnum = 2;
  parts.load = {.p_type = PT_LOAD,
                .p_flags = 5,
                .p_offset = 0x1000,
                .p_vaddr = 0xffff'ffff'8100'0000,
                .p_paddr = 16 * kMiB,
                .p_filesz = 0x1000,
                .p_memsz = 0x3000,
                .p_align = 0x1000};
  parts.note = {.p_type = PT_NOTE,
                .p_flags = 4,
                .p_offset = 0x2000,
                .p_vaddr = 0,
                .p_paddr = 0,
                .p_filesz = 44,
                .p_memsz = 44,
                .p_align = 4};
  return parts;
}

std::string Elf(const ElfParts& parts) {
  std::string image(0x202c, '\0');
  std::memcpy(image.data(), &parts, sizeof parts);
  image.replace(0x1000, 6, "KERNEL");
  const std::string notes(
      "\x06\0\0\0\x03\0\0\0\x12\0\0\0Linux\0\0\0xyz\0"  // another note first
      "\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0\xde\xad\xbe\xef",
      44);
  return image.replace(0x2000, 44, notes);
}

class LoadLinuxTest : public ::testing::Test {
 protected:
  void SetUp() override { SetMemory(64 * kMiB); }
  void SetMemory(uint64_t size) {
    auto memory = GuestMemory::Create(size, layout::kDeviceHoleStart);
    ASSERT_TRUE(memory.ok());
    memory_ = *std::move(memory);
  }
  absl::StatusOr<BootEntry> Load(const std::string& kernel) {
    boot_.kernel_path = WriteFile("kernel", kernel);
    return LoadLinux(*memory_, boot_);
  }
  std::string Guest(uint64_t gpa, size_t size) {
    std::string bytes(size, '\0');
    EXPECT_TRUE(
        memory_->Read(gpa, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), size)).ok());
    return bytes;
  }
  boot_params Params(const BootEntry& entry) {
    return memory_->ReadObject<boot_params>(entry.boot_params_gpa).value();
  }

  std::unique_ptr<GuestMemory> memory_;
  LinuxBoot boot_;
};

TEST_F(LoadLinuxTest, BzImage) {
  boot_.command_line = "console=ttyS0";
  auto entry = Load(BzImage(GoodHeader()));
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->format, "bzImage");
  EXPECT_EQ(entry->entry, 16 * kMiB + 0x200);
  EXPECT_EQ(Guest(16 * kMiB, 2), "C\x90");
  EXPECT_EQ(Guest(16 * kMiB + 0x2fff, 2), std::string("\x90\0", 2));
  const boot_params params = Params(*entry);
  EXPECT_EQ(params.hdr.header, 0x5372'6448u);
  EXPECT_EQ(params.hdr.type_of_loader, 0xff);
  EXPECT_TRUE(params.hdr.loadflags & LOADED_HIGH);
  EXPECT_EQ(params.sentinel, 0);
  EXPECT_EQ(Guest(params.hdr.cmd_line_ptr, 14), std::string("console=ttyS0\0", 14));
  EXPECT_EQ(Guest(params.acpi_rsdp_addr, 8), "RSD PTR ");
  EXPECT_EQ(params.hdr.ramdisk_size, 0u);
}

TEST_F(LoadLinuxTest, Vmlinux) {
  auto entry = Load(Elf(GoodElf()));
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->format, "vmlinux");
  EXPECT_EQ(entry->entry, 16 * kMiB + 0x40);
  EXPECT_EQ(Guest(16 * kMiB, 6), "KERNEL");
  EXPECT_THAT(entry->build_id, ElementsAre(0xde, 0xad, 0xbe, 0xef));
}

TEST_F(LoadLinuxTest, E820CoversExactlyRamLessTheLegacyHole) {
  auto entry = Load(BzImage(GoodHeader()));
  ASSERT_TRUE(entry.ok());
  const boot_params params = Params(*entry);
  uint64_t ram = 0, end = 0;
  for (int i = 0; i < params.e820_entries; ++i) {
    const boot_e820_entry e820 = params.e820_table[i];
    EXPECT_GE(e820.addr, end) << "sorted, no overlap";
    end = e820.addr + e820.size;
    if (e820.type != 1) continue;
    ram += e820.size;
    EXPECT_NE(memory_->HostAddress(e820.addr, e820.size), nullptr);
    EXPECT_FALSE(e820.addr < layout::kAcpiBase + layout::kAcpiSize && end > layout::kAcpiBase);
  }
  EXPECT_EQ(ram, memory_->size() - (kMiB - layout::kLowRamEnd));
}

TEST_F(LoadLinuxTest, TheResetVectorWritesTheResetRegister) {
  ASSERT_TRUE(Load(BzImage(GoodHeader())).ok());
  EXPECT_EQ(Guest(layout::kResetVector, 7), std::string("\xba\x02\x06\xb0\x01\xee\xf4"));
}

TEST_F(LoadLinuxTest, InitramfsIsFilesThenBytesPaddedAndHigh) {
  boot_.initrd_paths = {WriteFile("a", "aaaaa"), WriteFile("b", "bb")};
  boot_.initrd = {'c'};
  auto entry = Load(BzImage(GoodHeader()));
  ASSERT_TRUE(entry.ok()) << entry.status();
  const boot_params params = Params(*entry);
  EXPECT_EQ(Guest(params.hdr.ramdisk_image, params.hdr.ramdisk_size),
            std::string("aaaaa\0\0\0bb\0\0c", 13));
  EXPECT_EQ(params.hdr.ramdisk_image, 64 * kMiB - 4096);
  // A kernel that limits its place gets it there.
  setup_header header = GoodHeader();
  header.xloadflags = XLF_KERNEL_64;
  header.initrd_addr_max = 32 * kMiB - 1;
  entry = Load(BzImage(header));
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(Params(*entry).hdr.ramdisk_image, 32 * kMiB - 4096);
}

TEST_F(LoadLinuxTest, TooLittleMemoryNamesWhatIsNeeded) {
  SetMemory(18 * kMiB);
  auto small = Load(BzImage(GoodHeader()));
  EXPECT_EQ(small.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(small.status().message(), AllOf(HasSubstr("18 MiB"), HasSubstr("20 MiB")));
  SetMemory(22 * kMiB);
  boot_.initrd.resize(3 * kMiB);
  auto crowded = Load(BzImage(GoodHeader()));
  EXPECT_EQ(crowded.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(crowded.status().message(), AllOf(HasSubstr("initramfs"), HasSubstr("23 MiB")));
}

TEST_F(LoadLinuxTest, CommandLinesThatDoNotFit) {
  boot_.command_line = std::string(100, 'x');
  EXPECT_TRUE(Load(BzImage(GoodHeader())).ok());
  boot_.command_line += 'x';
  auto longer = Load(BzImage(GoodHeader()));
  EXPECT_THAT(longer.status().message(), AllOf(HasSubstr("101 bytes"), HasSubstr("at most 100")));
  EXPECT_TRUE(Load(Elf(GoodElf())).ok()) << "a vmlinux takes 2047";
  boot_.command_line = std::string("a\0b", 3);
  EXPECT_FALSE(Load(BzImage(GoodHeader())).ok());
}

TEST_F(LoadLinuxTest, MissingAndOddFiles) {
  boot_.kernel_path = "/no/such/kernel";
  EXPECT_EQ(LoadLinux(*memory_, boot_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Load("").status().message(), HasSubstr("an empty file"));
  EXPECT_THAT(Load("not a kernel").status().message(), HasSubstr("bzImage"));
  std::string image(1024, '\0');
  image.replace(56, 4, "ARMd");
  EXPECT_THAT(Load(image).status().message(), HasSubstr("aarch64"));
  boot_.vcpus = 3;
  boot_.topology = CpuTopology::Flat(2);
  EXPECT_THAT(Load(BzImage(GoodHeader())).status().message(), HasSubstr("3 vCPUs"));
}

TEST_F(LoadLinuxTest, HostileBzImages) {
  const auto message = [&](auto change) {
    setup_header header = GoodHeader();
    change(header);
    return std::string(Load(BzImage(header)).status().message());
  };
  EXPECT_THAT(message([](setup_header& h) { h.version = 0x206; }), HasSubstr("protocol 2.06"));
  EXPECT_THAT(message([](setup_header& h) { h.xloadflags = 0; }), HasSubstr("64-bit entry"));
  EXPECT_THAT(message([](setup_header& h) { h.pref_address = 0; }), HasSubstr("garbled"));
  EXPECT_THAT(message([](setup_header& h) { h.pref_address = ~0ull; }), HasSubstr("garbled"));
  EXPECT_THAT(message([](setup_header& h) { h.init_size = ~0u; }), HasSubstr("too small"));
  EXPECT_THAT(message([](setup_header& h) { h.setup_sects = 255; }), HasSubstr("cut short"));
  // Cut at every length.
  const std::string good = BzImage(GoodHeader());
  for (size_t size = 0; size < kSetupSize + 0x200; size += 61) {
    EXPECT_FALSE(Load(good.substr(0, size)).ok()) << size;
  }
}

TEST_F(LoadLinuxTest, HostileVmlinuxes) {
  const auto message = [&](auto change) {
    ElfParts parts = GoodElf();
    change(parts);
    return std::string(Load(Elf(parts)).status().message());
  };
  EXPECT_THAT(message([](ElfParts& p) { p.header.e_phnum = 0; }), HasSubstr("program headers"));
  EXPECT_THAT(message([](ElfParts& p) { p.header.e_phnum = 65535; }), HasSubstr("program headers"));
  EXPECT_THAT(message([](ElfParts& p) { p.header.e_phentsize = 1; }), HasSubstr("program headers"));
  EXPECT_THAT(message([](ElfParts& p) { p.header.e_phoff = ~0ull - 8; }),
              HasSubstr("past its end"));
  EXPECT_THAT(message([](ElfParts& p) { p.header.e_entry = 0; }), HasSubstr("entry"));
  EXPECT_THAT(message([](ElfParts& p) { p.load.p_paddr = 0; }), HasSubstr("physical address 0"));
  EXPECT_THAT(message([](ElfParts& p) { p.load.p_paddr = ~0ull; }), HasSubstr("physical address"));
  EXPECT_THAT(message([](ElfParts& p) { p.load.p_memsz = ~0ull; }), HasSubstr("physical address"));
  EXPECT_THAT(message([](ElfParts& p) { p.load.p_memsz = 1ull << 40; }), HasSubstr("too small"));
  EXPECT_THAT(message([](ElfParts& p) { p.load.p_memsz = 1; }),
              HasSubstr("more bytes than memory"));
  EXPECT_THAT(message([](ElfParts& p) { p.load.p_offset = ~0ull; }), HasSubstr("cut short"));
  EXPECT_THAT(message([](ElfParts& p) { p.note.p_offset = 1ull << 63; }), HasSubstr("cut short"));
}

TEST_F(LoadLinuxTest, RandomHeadersNeverReachOutside) {
  std::mt19937 random(1);
  const std::string images[] = {BzImage(GoodHeader()), Elf(GoodElf())};
  int loaded = 0;
  for (int i = 0; i < 400; ++i) {
    std::string image = images[i % 2];
    const size_t begin = i % 2 == 0 ? 0x1f1 : 0,
                 span = i % 2 == 0 ? sizeof(setup_header) : sizeof(ElfParts);
    for (int flips = 0; flips < 3; ++flips) {
      image[begin + random() % span] = static_cast<char>(random());
    }
    loaded += Load(image).ok();
  }
  EXPECT_GT(loaded, 10);
  EXPECT_LT(loaded, 400);
}

}  // namespace
}  // namespace watchsnap
