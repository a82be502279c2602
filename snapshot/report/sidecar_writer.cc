#include "snapshot/report/sidecar_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "snapshot/report/report_json.h"
#include "snapshot/report/sidecar_path.h"

namespace watchsnap {

absl::StatusOr<std::unique_ptr<SidecarWriter>> SidecarWriter::Create(std::string_view dir,
                                                                     std::string_view test_name,
                                                                     std::string_view tag) {
  if (!dir.empty()) {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(dir), error);
    if (error) {
      return absl::ErrnoToStatus(error.value(), absl::StrCat("create the sidecar directory ", dir));
    }
  }
  std::string path = SidecarPath(dir, test_name, tag);
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("create the sidecar ", path));
  return std::unique_ptr<SidecarWriter>(new SidecarWriter(fd, std::move(path)));
}

SidecarWriter::~SidecarWriter() {
  if (fd_ >= 0) close(fd_);
}

absl::Status SidecarWriter::AppendAll(absl::Span<const Report* const> reports) {
  CHECK_GE(fd_, 0) << "a capture is appended to " << path_ << " after it was finished";
  buffer_.clear();
  for (const Report* report : reports) {
    AppendReportJson(*report, buffer_);
    buffer_ += '\n';
  }
  absl::Status status = WriteBuffer();
  if (status.ok()) lines_ += reports.size();
  return status;
}

absl::Status SidecarWriter::Finish(const WatchCounters& counters) {
  CHECK_GE(fd_, 0) << path_ << " is finished twice";
  buffer_.clear();
  AppendSummaryJson(counters, buffer_);
  buffer_ += '\n';
  absl::Status status = WriteBuffer();
  // Network file systems tell of a failed write here.
  if (close(std::exchange(fd_, -1)) != 0 && status.ok()) {
    status = absl::ErrnoToStatus(errno, absl::StrCat("close the sidecar ", path_));
  }
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(status.message(), "; the counters that belong there: ",
                                   counters.armed, " armed, ", CountersText(counters)));
}

absl::Status SidecarWriter::WriteBuffer() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = pwrite(fd_, rest.data(), rest.size(),
                                   static_cast<off_t>(bytes_ + buffer_.size() - rest.size()));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : EIO;
      ++failures_;
      // What is left of the line must not stand before the next one. Cutting needs no space.
      if (ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) {
        return absl::ErrnoToStatus(
            error, absl::StrCat("write to the sidecar ", path_, ", whose last line is torn now"));
      }
      return absl::ErrnoToStatus(error, absl::StrCat("write to the sidecar ", path_));
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  bytes_ += buffer_.size();
  return absl::OkStatus();
}

}  // namespace watchsnap
