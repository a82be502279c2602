#include "testing/kvm_host/parts.h"

#include <stdlib.h>
#include <unistd.h>

#include <climits>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace watchsnap::kvm_host {
namespace {

constexpr char kQemu[] = "kvm_host_qemu/bin/qemu-system-x86_64";
constexpr char kKernel[] = "kvm_host_kernel/vmlinuz";
constexpr char kInitramfs[] = "watchsnap/testing/kvm_host/initramfs.cpio";

std::vector<std::string> RunfilesDirs() {
  std::vector<std::string> dirs;
  for (const char* name : {"RUNFILES_DIR", "TEST_SRCDIR"}) {
    if (const char* value = getenv(name); value != nullptr && *value != '\0') dirs.push_back(value);
  }
  std::vector<std::string> programs;
  std::ifstream cmdline("/proc/self/cmdline");
  if (std::string argv0; std::getline(cmdline, argv0, '\0')) programs.push_back(argv0);
  char exe[PATH_MAX];
  if (const ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe)); n > 0) {
    programs.emplace_back(exe, n);
  }
  for (const std::string& program : programs) {
    dirs.push_back(program + ".runfiles");
    // A program that is itself among the runfiles of another.
    if (const size_t end = program.rfind(".runfiles/"); end != std::string::npos) {
      dirs.push_back(program.substr(0, end + 9));
    }
  }
  return dirs;
}

std::string Absolute(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) != nullptr ? resolved : path;
}

}  // namespace

absl::StatusOr<Parts> FindParts() {
  const std::vector<std::string> dirs = RunfilesDirs();
  for (const std::string& dir : dirs) {
    const std::string qemu = absl::StrCat(dir, "/", kQemu),
                      kernel = absl::StrCat(dir, "/", kKernel),
                      initramfs = absl::StrCat(dir, "/", kInitramfs);
    if (access(qemu.c_str(), R_OK) != 0 || access(kernel.c_str(), R_OK) != 0 ||
        access(initramfs.c_str(), R_OK) != 0) {
      continue;
    }
    // Behind the symlinks of the runfiles the emulator's folders lie side by side.
    std::string bin = Absolute(qemu);
    bin.resize(bin.rfind("/bin/"));
    return Parts{bin, Absolute(kernel), Absolute(initramfs)};
  }
  return absl::NotFoundError(absl::StrCat(
      "the emulated KVM host is not among this program's runfiles: ", kQemu, ", ", kKernel, " and ",
      kInitramfs, " are not all in any of ", absl::StrJoin(dirs, ", "),
      ". Build the program with bazel and call it where bazel put it."));
}

}  // namespace watchsnap::kvm_host
