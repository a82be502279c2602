#include "snapshot/guest_init/guest_mounts.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"

namespace watchsnap {

std::vector<GuestMount> StandardMounts() {
  return {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"},
          {"tmpfs", "/tmp"}, {"tmpfs", "/run"}, {"cgroup2", "/sys/fs/cgroup"}};
}

absl::Status MakeFolders(const std::string& path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder = path.substr(0, end);
    if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
      return absl::ErrnoToStatus(errno, absl::StrCat("make the folder ", folder));
    }
    if (end == std::string::npos) return absl::OkStatus();
  }
}

absl::Status Mount(const GuestMount& mount) {
  if (absl::Status status = MakeFolders(mount.folder); !status.ok()) return status;
  if (::mount(mount.type.c_str(), mount.folder.c_str(), mount.type.c_str(), 0, nullptr) != 0 &&
      errno != EBUSY) {
    return absl::ErrnoToStatus(errno, absl::StrCat("mount ", mount.type, " on ", mount.folder));
  }
  return absl::OkStatus();
}

std::vector<absl::Status> MountAll(const std::vector<GuestMount>& mounts) {
  std::vector<absl::Status> failures;
  for (const GuestMount& mount : mounts) {
    if (absl::Status status = Mount(mount); !status.ok()) failures.push_back(status);
  }
  return failures;
}

}  // namespace watchsnap
