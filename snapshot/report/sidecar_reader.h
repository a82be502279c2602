// All of a sidecar as Reports: its captures in order, the counters if the run came to its end, and a
// torn last line if it did not. For files that fit into memory many times over; sidecar_file.h reads
// any size, one capture at a time, and is what this is made of.
//
//   absl::StatusOr<Sidecar> sidecar = ReadSidecar(path);
//   for (const Report& report : sidecar->reports) …
//
// Threads: free functions. Errors: those of sidecar_file.h; here one damaged line fails the whole. A
// last line without its line end that cannot be read is no error: the writer was killed inside it; it
// is in torn_line.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_READER_H_
#define WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_READER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "snapshot/report/report.h"
#include "snapshot/report/sidecar_file.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

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
