// Writing a sidecar: one line a capture, at the end the counters.
//
//   auto writer = SidecarWriter::Create(dir, "MyTest", "jiffies_64");   // an empty file is there
//   status = (*writer)->Append(report);
//   status = (*writer)->Finish(counters);
//
// What survives. Each Append is one write() of a whole line: once it returned OK, the line survives
// the death of this process. A process killed inside an Append leaves at most a torn last line,
// which the reader reports. (A crash of the whole machine may lose more: nothing is synced.)
// Appending many reports by one AppendAll is one write().
//
// A write that fails (disk full, quota) is returned; what it left of its line is cut off again, so
// that later lines and the summary start at a line's beginning. The writer stays usable. Finish
// always tries to write the counters; if even that fails, the status names them in words.
//
// Threads: one at a time; the renderer's. Ownership: the writer owns the file descriptor; the file
// stays.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_WRITER_H_
#define WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "snapshot/report/report.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

class SidecarWriter {
 public:
  // Creates `dir` where it is missing. A file of an earlier run is emptied.
  static absl::StatusOr<std::unique_ptr<SidecarWriter>> Create(std::string_view dir,
                                                               std::string_view test_name,
                                                               std::string_view tag);
  ~SidecarWriter();
  SidecarWriter(const SidecarWriter&) = delete;
  SidecarWriter& operator=(const SidecarWriter&) = delete;

  absl::Status Append(const Report& report) { return AppendAll({&report}); }
  // All or none of the lines.
  absl::Status AppendAll(absl::Span<const Report* const> reports);

  // Writes the summary and closes. CHECK-fails on a second call, and Append after it.
  absl::Status Finish(const WatchCounters& counters);

  const std::string& path() const { return path_; }
  uint64_t lines_written() const { return lines_; }
  uint64_t write_failures() const { return failures_; }

 private:
  SidecarWriter(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  absl::Status WriteBuffer();

  int fd_;
  const std::string path_;
  std::string buffer_;  // reused from line to line
  uint64_t bytes_ = 0;  // the length of the whole lines in the file
  uint64_t lines_ = 0;  // captures in the file
  uint64_t failures_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_WRITER_H_
