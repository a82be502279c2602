// Reading a line of a sidecar back: a Report, or the counters of the summary. By simdjson, on
// demand: parts that the model does not know are copied as text, not parsed.
//
//   ReportParser parser;                                     // reusable, keeps its buffers
//   absl::StatusOr<SidecarLine> line = parser.Parse(text);
//
// Threads: a parser is for one thread at a time. Errors: INVALID_ARGUMENT that names the place
// ("trigger.slot"), what is expected and what stands there; FAILED_PRECONDITION for a schema this
// version does not read.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_REPORT_PARSE_H_
#define WATCHSNAP_SNAPSHOT_REPORT_REPORT_PARSE_H_

#include <cstddef>
#include <memory>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"
#include "snapshot/report/report.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

using SidecarLine = std::variant<Report, WatchCounters>;

// How many bytes behind a text simdjson may read (never use).
inline constexpr size_t kJsonPadding = 64;

class ReportParser {
 public:
  ReportParser();
  ~ReportParser();
  ReportParser(const ReportParser&) = delete;
  ReportParser& operator=(const ReportParser&) = delete;

  absl::StatusOr<SidecarLine> Parse(std::string_view text);

  // The same without a copy, for a caller that has kJsonPadding readable bytes behind `text`.
  absl::StatusOr<SidecarLine> ParsePadded(std::string_view text);

  // True if `text` is one well-formed JSON document, checked in full.
  bool IsWellFormed(std::string_view text);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One report; a summary is an error here.
absl::StatusOr<Report> ParseReport(std::string_view text);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_REPORT_PARSE_H_
