#include "vmm/boot/host_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

constexpr size_t kShareFrom = 8 << 20;
constexpr size_t kHugePage = 2 << 20;  // neither thread fills a page of the other's

}  // namespace

absl::StatusOr<HostFile> HostFile::Open(const std::string& path, std::string_view purpose) {
  HostFile file;
  file.path_ = path;
  file.purpose_ = std::string(purpose);
  file.fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd_ < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot open the ", purpose, " file '", path, "'; check the path"));
  }
  struct stat info;
  if (fstat(file.fd_, &info) != 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot stat the ", purpose, " file '", path, "'"));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "' was given as the ", purpose, " but is not a regular file"));
  }
  file.size_ = static_cast<uint64_t>(info.st_size);
  return file;
}

HostFile::HostFile(HostFile&& other) noexcept
    : path_(std::move(other.path_)),
      purpose_(std::move(other.purpose_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_) {}

HostFile::~HostFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status HostFile::ReadAt(uint64_t offset, absl::Span<uint8_t> out) const {
  // Checked first, so that no offset from a hostile header reaches pread as a negative number.
  if (offset > size_ || out.size() > size_ - offset) {
    return absl::DataLossError(
        absl::StrCat("the ", purpose_, " file '", path_, "' is cut short: wanted ", out.size(),
                     " bytes at ", offset, ", it has ", size_, " in all; copy or build it again"));
  }
  if (out.size() < kShareFrom) return Read(offset, out);
  const size_t half = out.size() / 2 - reinterpret_cast<uintptr_t>(out.data() + out.size() / 2) % kHugePage;
  absl::Status second;
  std::thread helper([&] { second = Read(offset + half, out.subspan(half)); });
  absl::Status first = Read(offset, out.first(half));
  helper.join();
  return first.ok() ? second : first;
}

absl::Status HostFile::Read(uint64_t offset, absl::Span<uint8_t> out) const {
  while (!out.empty()) {
    const ssize_t got = pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat("cannot read the ", purpose_, " file '", path_, "' at ", offset));
    }
    if (got == 0) {
      return absl::DataLossError(
          absl::StrCat("the ", purpose_, " file '", path_, "' shrank while it was read"));
    }
    offset += static_cast<uint64_t>(got);
    out.remove_prefix(static_cast<size_t>(got));
  }
  return absl::OkStatus();
}

}  // namespace watchsnap
