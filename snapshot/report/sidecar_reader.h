// Reading a sidecar back: its captures in order, the counters if the run came to its end, and a
// torn last line if it did not.
//
//   absl::StatusOr<Sidecar> sidecar = ReadSidecar(path);
//   for (const Report& report : sidecar->reports) …
//
// Threads: free functions. Errors: NOT_FOUND and the like for the file; INVALID_ARGUMENT for a line
// that is no capture, with file, line number and what stood there. A last line without its line end
// that cannot be read is no error: the writer was killed inside it; it is in torn_line.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_READER_H_
#define WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "snapshot/report/report.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

struct TornLine {
  uint64_t line_number = 0;  // from 1
  std::string text;          // what there is of it
};

struct Sidecar {
  std::vector<Report> reports;
  std::optional<WatchCounters> summary;  // absent: the run did not finish
  std::optional<TornLine> torn_line;
};

absl::StatusOr<Sidecar> ReadSidecar(const std::string& path);

// The same from memory; `name` stands in the messages.
absl::StatusOr<Sidecar> ParseSidecar(std::string_view content, std::string_view name);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_READER_H_
