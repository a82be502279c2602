// What the host side of a scenario program decides without a guest: options, the guest's image,
// verdicts.
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/guest_image.h"
#include "testing/scenario/host_options.h"
#include "testing/scenario/self.h"
#include "testing/scenario/verdict.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(HostOptions, LaterArgumentsWinAndAppendsAreJoined) {
  absl::StatusOr<HostOptions> options = ParseHostOptions(
      {"--cpus=1", "--append=nohz=off", "--vmlinux=a", "--cpus=2", "--append=", "--append=nokaslr",
       "--duration_s=2.5", "--guest_data=x", "--guest_data=y", "--host=emulated"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->cpus, 2);
  EXPECT_EQ(options->append, "nohz=off nokaslr");
  EXPECT_EQ(options->duration, absl::Milliseconds(2500));
  EXPECT_THAT(options->guest_data, ElementsAre("x", "y"));
  EXPECT_EQ(options->host, HostChoice::kEmulated);
}

TEST(HostOptions, WrongOnesAreNamed) {
  for (const char* wrong : {"--cpus=0", "--cpus=many", "--topology=numa=2,dies=2", "--duration_s=-1", "--host=moon",
                            "--colour=red", "stray", "--cpus"}) {
    absl::StatusOr<HostOptions> options = ParseHostOptions({wrong});
    EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_THAT(std::string(options.status().message()),
                HasSubstr(std::string(wrong).substr(0, 6)));
  }
}

TEST(HostOptions, FilesAreLookedForInTheRunfiles) {
  std::string pattern = ::testing::TempDir() + "/runfiles_XXXXXX";
  const std::string folder = mkdtemp(pattern.data());
  std::ofstream(folder + "/a_kernel") << "x";
  setenv("RUNFILES_DIR", folder.c_str(), 1);
  absl::StatusOr<std::string> found = FindInputFile("a_kernel");
  absl::StatusOr<std::string> missing = FindInputFile("no_kernel");
  unsetenv("RUNFILES_DIR");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, folder + "/a_kernel");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr(folder + "/no_kernel"));
}

TEST(Self, TheLineThatRunsItAgainSurvivesAShell) {
  const std::string line = RunAgainLine({"--append=a b", "it's"}, "Scenario.X");
  EXPECT_THAT(line, HasSubstr("'--append=a b' 'it'\\''s' --gtest_filter=Scenario.X"));
}

// An ELF file with one loaded segment of 16 bytes, and section headers and more behind.
std::vector<uint8_t> StaticProgram(bool dynamic) {
  std::vector<uint8_t> file(4096, 0xab);
  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = dynamic ? 2 : 1;
  header.e_shoff = 2048;
  header.e_shnum = 3;
  Elf64_Phdr segments[2] = {};
  segments[0].p_type = PT_LOAD;
  segments[0].p_offset = 512;
  segments[0].p_filesz = 16;
  segments[1].p_type = PT_INTERP;
  memcpy(file.data(), &header, sizeof(header));
  memcpy(file.data() + header.e_phoff, segments, sizeof(segments));
  return file;
}

TEST(GuestImage, OnlyTheLoadedPartOfAProgramTravels) {
  absl::StatusOr<std::vector<uint8_t>> loaded = LoadedPartOfElf(StaticProgram(false));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->size(), 528u);
  Elf64_Ehdr header;
  memcpy(&header, loaded->data(), sizeof(header));
  EXPECT_EQ(header.e_shoff, 0u);
  EXPECT_EQ(header.e_shnum, 0);
  EXPECT_EQ(header.e_phnum, 1);
}

TEST(GuestImage, ProgramsThatCannotBeTheFirstProcessAreRefused) {
  EXPECT_THAT(std::string(LoadedPartOfElf(StaticProgram(true)).status().message()),
              HasSubstr("dynamically linked"));
  EXPECT_FALSE(LoadedPartOfElf(std::vector<uint8_t>(10, 0)).ok());
  std::vector<uint8_t> cut = StaticProgram(false);
  cut.resize(520);
  EXPECT_THAT(std::string(LoadedPartOfElf(cut).status().message()), HasSubstr("outside the file"));
}

class JudgeTest : public ::testing::Test {
 protected:
  ScenarioRun Judged(VmResult result) {
    return Judge(scenario_, std::move(result), "/out/console.log");
  }
  RegisteredScenario scenario_{.name = "Example"};
};

TEST_F(JudgeTest, TheWaysToFailAreToldApart) {
  EXPECT_EQ(Judge(scenario_, absl::NotFoundError("no /dev/kvm"), "").verdict,
            Verdict::kHarnessFailure);
  EXPECT_EQ(Judged({.end = {RunEndKind::kTripleFault, ""}}).verdict, Verdict::kBootFailure);
  EXPECT_EQ(Judged({.end = {RunEndKind::kPanic, ""}, .reached_hello = true}).verdict,
            Verdict::kGuestFailure);
  EXPECT_EQ(Judged({.end = {RunEndKind::kInterrupted, ""}, .reached_hello = true}).verdict,
            Verdict::kHarnessFailure);
  EXPECT_EQ(Judged({.end = {RunEndKind::kPowerOff, ""},
                    .reached_hello = true,
                    .scenario = GuestScenarioResult{.passed = false}})
                .verdict,
            Verdict::kScenarioFailure);
  EXPECT_EQ(Judged({.end = {RunEndKind::kPowerOff, ""},
                    .reached_hello = true,
                    .scenario = GuestScenarioResult{.passed = true}})
                .verdict,
            Verdict::kPassed);
}

TEST_F(JudgeTest, AFailureShowsTheEndOfTheConsole) {
  std::string console;
  for (int i = 0; i < 100; ++i) console += "line " + std::to_string(i) + "\r\n";
  const ScenarioRun run = Judged({.end = {RunEndKind::kPanic, "init died"}, .console = console});
  EXPECT_THAT(run.message, HasSubstr("guest panic: init died"));
  EXPECT_THAT(run.message, HasSubstr("| line 99\n"));
  EXPECT_THAT(run.message, Not(HasSubstr("| line 10\n")));
  EXPECT_THAT(run.message, HasSubstr("/out/console.log"));
}

TEST_F(JudgeTest, AScenariosDetailsAreShown) {
  const ScenarioRun run = Judged(
      {.scenario = GuestScenarioResult{.passed = false, .details = {"symbol 'x' not found"}}});
  EXPECT_THAT(run.message, HasSubstr("Example says, from the guest:\n  symbol 'x' not found"));
}

}  // namespace
}  // namespace watchsnap
