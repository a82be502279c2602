#include "snapshot/guest_init/control_port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace watchsnap {
namespace {

// sysfs tells of no new attribute files through inotify, so they are looked for; often at first, as
// a boot that is nearly done should not wait for us.
constexpr absl::Duration kFirstNap = absl::Milliseconds(1);
constexpr absl::Duration kLongestNap = absl::Milliseconds(20);

std::string ReadShortFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char bytes[256];
  const ssize_t got = read(fd, bytes, sizeof(bytes));
  close(fd);
  return got > 0 ? std::string(absl::StripAsciiWhitespace(
                       std::string_view(bytes, static_cast<size_t>(got))))
                 : "";
}

// The device's name in /dev, or "" with the ports that were seen in `others`.
std::string LookOnce(const std::string& ports, std::vector<std::string>& others) {
  others.clear();
  DIR* folder = opendir(ports.c_str());
  if (folder == nullptr) return "";
  std::string found;
  while (const dirent* entry = readdir(folder)) {
    const std::string device = entry->d_name;
    if (device.starts_with(".")) continue;
    const std::string name = ReadShortFile(absl::StrCat(ports, "/", device, "/name"));
    if (name == kControlPortName) {
      found = device;
    } else {
      others.push_back(
          absl::StrCat(device, name.empty() ? " (no name yet)" : absl::StrCat(" \"", name, "\"")));
    }
  }
  closedir(folder);
  return found;
}

}  // namespace

absl::StatusOr<std::string> FindControlPort(const ControlPortFolders& folders,
                                            absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  const std::string ports = absl::StrCat(folders.sysfs, "/class/virtio-ports");
  std::vector<std::string> others;
  absl::Duration nap = kFirstNap;
  while (true) {
    const std::string device = LookOnce(ports, others);
    const std::string path = absl::StrCat(folders.dev, "/", device);
    if (!device.empty() && access(path.c_str(), R_OK | W_OK) == 0) return path;
    if (absl::Now() >= deadline) {
      if (!device.empty()) {
        return absl::DeadlineExceededError(
            absl::StrCat("the control port is ", device, ", but there is no ", path,
                         ": is devtmpfs mounted on ", folders.dev, "?"));
      }
      return absl::DeadlineExceededError(
          absl::StrCat("no virtio-console port named ", kControlPortName, " in ", ports, " within ",
                       absl::FormatDuration(timeout),
                       "; ports there: ", others.empty() ? "none" : absl::StrJoin(others, ", "),
                       ". The kernel needs CONFIG_VIRTIO_PCI and CONFIG_VIRTIO_CONSOLE built in"));
    }
    absl::SleepFor(nap);
    nap = std::min(2 * nap, kLongestNap);
  }
}

absl::StatusOr<int> OpenControlPort(const ControlPortFolders& folders, absl::Duration timeout) {
  absl::StatusOr<std::string> path = FindControlPort(folders, timeout);
  if (!path.ok()) return path.status();
  const int fd = open(path->c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open the control port ", *path));
  return fd;
}

}  // namespace watchsnap
