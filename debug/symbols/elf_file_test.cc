#include "debug/symbols/elf_file.h"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "debug/symbols/elf_builder.h"
#include "debug/symbols/elf_exercise.h"
#include "debug/symbols/elf_notes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using Bytes = std::vector<uint8_t>;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kData = 0xffffffff83000000;

ElfBuilder Small() {
  ElfBuilder builder;
  const uint16_t data =
      builder.AddSection(".data", kData, SHF_ALLOC | SHF_WRITE, Bytes{1, 2, 3, 4, 5, 6, 7, 8});
  builder.AddSection(".bss", kData + 0x1000, SHF_ALLOC | SHF_WRITE, 1 << 20, SHT_NOBITS);
  const uint16_t text =
      builder.AddSection(".text", 0xffffffff81000000, SHF_ALLOC | SHF_EXECINSTR, 64);
  builder.AddSymbol("jiffies_64", data, kData, 8)
      .AddSymbol("do_timer", text, 0xffffffff81000000, 21, STT_FUNC)
      .AddBuildId("0123456789", 0xffffffff82a56e48)
      .AddSegment(data, 8);
  return builder;
}

std::string OpenError(Bytes bytes) {
  const auto elf = ElfFile::FromBytes("vmlinux", std::move(bytes));
  EXPECT_FALSE(elf.ok());
  return std::string(elf.status().message());
}

TEST(ElfFile, OpensAFileOnDisk) {
  const std::string path = testing::TempDir() + "/elf_file_test.vmlinux";
  const Bytes bytes = Small().Build();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto elf = ElfFile::Open(path);
  ASSERT_TRUE(elf.ok()) << elf.status();
  EXPECT_EQ((*elf)->path(), path);
  EXPECT_EQ((*elf)->type(), ET_EXEC);
  EXPECT_EQ((*elf)->GnuBuildId(), "0123456789");
  std::remove(path.c_str());
}

TEST(ElfFile, GivesSectionsAndTheirContents) {
  const auto elf = ElfFile::FromBytes("vmlinux", Small().Build());
  ASSERT_TRUE(elf.ok()) << elf.status();
  const ElfSection* data = (*elf)->FindSection(".data");
  ASSERT_NE(data, nullptr);
  EXPECT_EQ(data->address, kData);
  EXPECT_THAT((*elf)->Contents(*data), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  const ElfSection* bss = (*elf)->FindSection(".bss");
  ASSERT_NE(bss, nullptr);
  EXPECT_EQ(bss->size, 1u << 20);
  EXPECT_TRUE((*elf)->Contents(*bss).empty());
  EXPECT_EQ((*elf)->FindSection(".BTF"), nullptr);
}

TEST(ElfFile, ReadsAtAKvaWithZerosBehindTheFilesBytes) {
  const auto elf = ElfFile::FromBytes("vmlinux", Small().Build());
  ASSERT_TRUE(elf.ok()) << elf.status();
  Bytes out(6, 0xff);
  ASSERT_TRUE((*elf)->ReadAtKva(kData + 4, absl::MakeSpan(out)).ok());
  EXPECT_THAT(out, ElementsAre(5, 6, 7, 8, 0, 0));
  ASSERT_TRUE((*elf)->ReadAtKva(kData + 10, absl::MakeSpan(out)).ok());
  EXPECT_THAT(out, ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_EQ((*elf)->ReadAtKva(kData + 11, absl::MakeSpan(out)).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*elf)->ReadAtKva(kData - 1, absl::MakeSpan(out)).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*elf)->ReadAtKva(~uint64_t{0}, absl::MakeSpan(out)).code(),
            absl::StatusCode::kOutOfRange);
}

TEST(ElfFile, WhatIsNotAnElfFileIsSaidToBeNone) {
  EXPECT_THAT(OpenError({}), HasSubstr("'vmlinux' is not an ELF file: the file is empty"));
  EXPECT_THAT(OpenError({'h', 'e', 'l', 'l', 'o'}), HasSubstr("is not an ELF file"));
  Bytes bzimage(4096);
  std::copy_n("HdrS", 4, bzimage.begin() + 0x202);
  EXPECT_THAT(OpenError(bzimage), HasSubstr("this is a bzImage, which has no symbols"));
  EXPECT_THAT(OpenError({0x1f, 0x8b, 8, 0}), HasSubstr("compressed with gzip"));
}

TEST(ElfFile, AnotherClassOrByteOrderIsRefused) {
  Bytes narrow = Small().Build();
  narrow[EI_CLASS] = ELFCLASS32;
  EXPECT_THAT(OpenError(narrow), HasSubstr("of class 1"));
  Bytes big = Small().Build();
  big[EI_DATA] = ELFDATA2MSB;
  EXPECT_THAT(OpenError(big), HasSubstr("byte order 2"));
}

TEST(ElfFile, ADirectoryIsRefused) {
  EXPECT_FALSE(ElfFile::Open(testing::TempDir()).ok());
}

// Every prefix of a good file: either refused, or read without leaving it.
TEST(ElfFile, NoTruncationIsReadPastItsEnd) {
  const Bytes whole = Small().Build();
  for (size_t size = 0; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + size);
    EXPECT_FALSE(ElfFile::FromBytes("vmlinux", cut).ok()) << size;
  }
  EXPECT_THAT(OpenError(Bytes(whole.begin(), whole.end() - 1)), HasSubstr("damaged ELF file"));
}

// Any byte changed, alone and in groups: no crash, no read outside (checked under ASan).
TEST(ElfFile, NoMutationIsReadOutsideTheFile) {
  const Bytes whole = Small().Build();
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const uint8_t value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      Bytes mutated = whole;
      mutated[at] = value;
      ExerciseElf(std::move(mutated));
    }
  }
  std::mt19937 random(20240101);
  int opened = 0;
  for (int i = 0; i < 20'000; ++i) {
    Bytes mutated = whole;
    for (int n = random() % 6; n >= 0; --n) mutated[random() % mutated.size()] = random();
    if (random() % 4 == 0) mutated.resize(random() % mutated.size());
    opened += ExerciseElf(std::move(mutated)) ? 1 : 0;
  }
  EXPECT_GT(opened, 1000);  // the mutations reach behind the header
}

TEST(ElfNotes, TheBuildIdIsFoundBehindOthers) {
  EXPECT_EQ(FindGnuBuildId(ElfBuilder::Notes("abc")), "abc");
  Bytes unpadded = ElfBuilder::Notes("abc");
  unpadded.pop_back();
  EXPECT_EQ(FindGnuBuildId(unpadded), "abc");
  unpadded.pop_back();
  EXPECT_EQ(FindGnuBuildId(unpadded), std::nullopt);
}

TEST(ElfNotes, SizesThatWrapEndTheSearch) {
  EXPECT_EQ(FindGnuBuildId(Bytes(64, 0xff)), std::nullopt);
  EXPECT_EQ(FindGnuBuildId(Bytes(64, 0)), std::nullopt);
  EXPECT_EQ(FindGnuBuildId({}), std::nullopt);
}

}  // namespace
}  // namespace watchsnap
