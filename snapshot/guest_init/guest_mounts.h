// Mounts of a guest's first process: kernel file systems on folders that may not be there yet.
//
//   for (const absl::Status& s : MountAll(StandardMounts())) …   // what could not be mounted, the
//   rest is there
//
// Threads: one (the process is PID 1). Errors: a Status that names type, folder and what the kernel
// said. A folder where that file system is mounted already counts as mounted.
#ifndef WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_MOUNTS_H_
#define WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_MOUNTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace watchsnap {

struct GuestMount {
  std::string type;
  std::string folder;
};

// proc, sysfs, devtmpfs, tmpfs on /tmp and /run, cgroup2 on /sys/fs/cgroup; in an order that works.
std::vector<GuestMount> StandardMounts();

absl::Status Mount(const GuestMount& mount);

// Tries all of them; returns the failures.
std::vector<absl::Status> MountAll(const std::vector<GuestMount>& mounts);

// mkdir -p.
absl::Status MakeFolders(const std::string& path);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_GUEST_INIT_GUEST_MOUNTS_H_
