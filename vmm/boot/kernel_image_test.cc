#include "vmm/boot/kernel_image.h"

#include <elf.h>

#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> Blank() { return std::vector<uint8_t>(kKernelHeadSize); }

std::vector<uint8_t> Elf(uint16_t type, uint16_t machine) {
  std::vector<uint8_t> head = Blank();
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = type;
  header.e_machine = machine;
  std::memcpy(head.data(), &header, sizeof header);
  return head;
}

TEST(DetectKernelFormat, TellsTheFormatsApart) {
  std::vector<uint8_t> bzimage = Blank();
  bzimage[0] = 'M', bzimage[1] = 'Z';  // a kernel with an EFI stub begins as a PE file
  bzimage[0x1fe] = 0x55, bzimage[0x1ff] = 0xaa;
  std::memcpy(&bzimage[0x202], "HdrS", 4);
  EXPECT_EQ(DetectKernelFormat(bzimage, "k").value(), KernelFormat::kBzImage);

  std::vector<uint8_t> image = Blank();
  image[0] = 'M', image[1] = 'Z';
  std::memcpy(&image[56], "ARMd", 4);
  EXPECT_EQ(DetectKernelFormat(image, "k").value(), KernelFormat::kArm64Image);

  EXPECT_EQ(DetectKernelFormat(Elf(ET_EXEC, EM_X86_64), "k").value(), KernelFormat::kElfX86_64);
  EXPECT_EQ(DetectKernelFormat(Elf(ET_DYN, EM_AARCH64), "k").value(), KernelFormat::kElfAarch64);
}

TEST(DetectKernelFormat, SaysWhatWasFoundInstead) {
  struct Case {
    std::vector<uint8_t> head;
    std::string says;
  };
  const Case cases[] = {
      {{}, "an empty file"},
      {{0x1f, 0x8b, 8}, "gzip"},
      {{'0', '7', '0', '7', '0', '1'}, "initramfs"},
      {{'!', '<', 'a', 'r', 'c', 'h', '>'}, ".deb"},
      {Elf(ET_REL, EM_X86_64), "type 1, machine 62"},  // a kernel module
      {Elf(ET_DYN, EM_X86_64), "type 3, machine 62"},  // a program
      {{0x7f, 'E', 'L', 'F'}, "class 0"},
      {Blank(), "something else"},
  };
  for (const Case& c : cases) {
    auto format = DetectKernelFormat(c.head, "/boot/thing");
    EXPECT_EQ(format.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(format.status().message(), HasSubstr("/boot/thing"));
    EXPECT_THAT(format.status().message(), HasSubstr(c.says));
  }
}

TEST(DetectKernelFormat, AnyTruncationIsRefusedAndReadsNothingBeyond) {
  std::vector<uint8_t> elf = Elf(ET_EXEC, EM_X86_64);
  for (size_t size = 0; size < sizeof(Elf64_Ehdr); ++size) {
    std::vector<uint8_t> head(elf.begin(), elf.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(DetectKernelFormat(head, "k").ok()) << size;
  }
}

}  // namespace
}  // namespace watchsnap
