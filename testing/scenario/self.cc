#include "testing/scenario/self.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

std::string Environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

// For a shell: in single quotes where it holds anything unusual.
std::string Quoted(const std::string& word) {
  constexpr char kPlain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) c == '\'' ? quoted += "'\\''" : quoted += c;
  return quoted + "'";
}

}  // namespace

std::string SelfPath() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  return length > 0 ? std::string(path, static_cast<size_t>(length)) : "";
}

std::vector<std::string> RunfilesRoots() {
  std::vector<std::string> roots;
  for (std::string& folder : std::vector<std::string>{
           Environment("TEST_SRCDIR"), Environment("RUNFILES_DIR"), SelfPath() + ".runfiles"}) {
    if (!folder.empty()) roots.push_back(std::move(folder));
  }
  return roots;
}

std::string RunAgainLine(const std::vector<std::string>& arguments,
                         const std::string& gtest_filter) {
  std::string line;
  if (const std::string target = Environment("TEST_TARGET"); !target.empty()) {
    absl::StrAppend(&line, "./bazelw test ", target,
                    " --test_output=all --test_arg=--gtest_filter=", Quoted(gtest_filter),
                    "   or   ");
  }
  absl::StrAppend(&line, Quoted(SelfPath()));
  for (const std::string& argument : arguments) absl::StrAppend(&line, " ", Quoted(argument));
  absl::StrAppend(&line, " --gtest_filter=", Quoted(gtest_filter));
  return line;
}

std::string OutputsFolder() {
  if (std::string folder = Environment("TEST_UNDECLARED_OUTPUTS_DIR"); !folder.empty())
    return folder;
  const std::string temporary = Environment("TMPDIR").empty() ? "/tmp" : Environment("TMPDIR");
  const std::string self = SelfPath();
  const std::string folder =
      absl::StrCat(temporary, "/watchsnap.", self.substr(self.rfind('/') + 1));
  if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return temporary;
  return folder;
}

}  // namespace watchsnap
