#include "testing/scenario/program_libraries.h"

#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// This very test is a dynamically linked program.
std::vector<uint8_t> ThisProgram() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string TemporaryFile(const std::string& name, const std::vector<uint8_t>& content) {
  std::string pattern = ::testing::TempDir() + "/libraries_XXXXXX";
  const std::string path = std::string(mkdtemp(pattern.data())) + "/" + name;
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
  return path;
}

TEST(ProgramLibraries, ThoseOfAProgramAndOfItsLibraries) {
  absl::StatusOr<DynamicNeeds> needs = ReadDynamicNeeds(ThisProgram());
  ASSERT_TRUE(needs.ok()) << needs.status();
  ASSERT_FALSE(needs->interpreter.empty());
  EXPECT_THAT(needs->libraries, Contains("libc.so.6"));
  absl::StatusOr<std::vector<GuestLibrary>> libraries = LibrariesOf("/proc/self/exe", {});
  // /proc/self/exe is a link, which a test's file need not be; a copy then.
  if (!libraries.ok()) libraries = LibrariesOf(TemporaryFile("copy", ThisProgram()), {});
  ASSERT_TRUE(libraries.ok()) << libraries.status();
  EXPECT_THAT(*libraries, Contains(Field(&GuestLibrary::guest_path, needs->interpreter)));
  EXPECT_THAT(*libraries, Contains(Field(&GuestLibrary::guest_path, "/lib/libc.so.6")));
}

TEST(ProgramLibraries, TheTestsOwnComeFirst) {
  const std::string own = TemporaryFile("libc.so.6", {'n', 'o', ' ', 'E', 'L', 'F'});
  absl::StatusOr<std::vector<GuestLibrary>> libraries =
      LibrariesOf(TemporaryFile("copy", ThisProgram()), {own});
  ASSERT_TRUE(libraries.ok()) << libraries.status();
  EXPECT_THAT(*libraries, Contains(Field(&GuestLibrary::host_path, own)));
}

TEST(ProgramLibraries, OtherFilesNeedNothing) {
  absl::StatusOr<std::vector<GuestLibrary>> libraries =
      LibrariesOf(TemporaryFile("text", {'h', 'e', 'l', 'l', 'o'}), {});
  ASSERT_TRUE(libraries.ok()) << libraries.status();
  EXPECT_THAT(*libraries, IsEmpty());
}

TEST(ProgramLibraries, AMissingLibraryIsNamed) {
  std::vector<uint8_t> program = ThisProgram();
  const std::string name = "libc.so.6";
  auto at = program.begin();
  while ((at = std::search(at, program.end(), name.begin(), name.end())) != program.end()) {
    *(at + 3) = 'q';
    ++at;
  }
  absl::StatusOr<std::vector<GuestLibrary>> libraries =
      LibrariesOf(TemporaryFile("odd", program), {});
  EXPECT_EQ(libraries.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(libraries.status().message()), HasSubstr("no library libq.so.6 for "));
}

TEST(ProgramLibraries, CutFilesAreRefusedOrNeedNothing) {
  const std::vector<uint8_t> program = ThisProgram();
  const absl::Span<const uint8_t> whole = program;
  for (size_t length = 0; length < 4096; length += 7) {
    (void)ReadDynamicNeeds(whole.first(length));
  }
  EXPECT_FALSE(ReadDynamicNeeds(whole.first(100)).ok());
}

}  // namespace
}  // namespace watchsnap
