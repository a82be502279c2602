// A file of captures, read as it is asked for: a sidecar of any size, or the single document of a
// failure dump. What sidecar_reader, the accessor, `inspect` and `diff` read by.
//
//   absl::StatusOr<SidecarFile> file = SidecarFile::Open(path);
//   auto document = file->Document(3);                                    // any of file->size()
//   file->ForEach([&](size_t i, auto document) { …; return true; });      // all, in one pass
//
// Opening looks at the first line and the last; the lines between are found when they are asked for,
// and a capture is read and parsed when it is asked for, and no longer kept than its caller keeps it.
// So the memory needed is that of one capture, reading all of a file costs little more than parsing
// it (sidecar_read_benchmark), and a file whose line 7 is damaged can still be read at line 8.
//
// Threads: one at a time for a SidecarFile; the documents it gave are anyone's.
// Errors: NOT_FOUND and the like for the file; INVALID_ARGUMENT with file, line number and what stands
// there for a line that is no capture; FAILED_PRECONDITION for a schema that this version does not
// read; OUT_OF_RANGE for a capture that is not there; ABORTED where the file was cut meanwhile. A last
// line without its line end that cannot be read is no error: the writer was killed inside it, see
// torn_line().
#ifndef WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_FILE_H_
#define WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "snapshot/report/json_document.h"
#include "snapshot/report/report.h"
#include "snapshot/report/report_parse.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

struct TornLine {
  uint64_t line_number = 0;  // from 1
  std::string text;          // what there is of it
};

class SidecarFile {
 public:
  static absl::StatusOr<SidecarFile> Open(const std::string& path);
  // The same from memory; `name` stands in the messages.
  static absl::StatusOr<SidecarFile> FromText(std::string text, std::string name);
  SidecarFile(SidecarFile&& other) noexcept;
  SidecarFile& operator=(SidecarFile&& other) noexcept;
  ~SidecarFile();

  using DocumentOr = absl::StatusOr<std::shared_ptr<const JsonDocument>>;

  // How many captures there are. The first call reads through the file.
  size_t size();
  // A whole capture, checked to be one.
  DocumentOr Document(size_t capture);
  // Every capture in order, a damaged one as its error, until `visit` returns false. An error if the
  // file could not be read to its end.
  absl::Status ForEach(absl::FunctionRef<bool(size_t capture, DocumentOr document)> visit);
  absl::StatusOr<Report> ReadReport(size_t capture);

  // Absent: the run did not finish.
  const std::optional<WatchCounters>& summary() const { return summary_; }
  const std::optional<TornLine>& torn_line() const { return torn_line_; }
  // The file is one JSON document, over however many lines, and not a sidecar.
  bool is_single_document() const { return single_document_; }
  const std::string& name() const { return name_; }

 private:
  struct Span {
    uint64_t offset;
    size_t length;
    uint64_t line_number;
  };
  SidecarFile() = default;

  absl::Status LookAtFirstLine(const Span& last);
  absl::Status LookAtLastLine(Span last, bool terminated);
  // Where the last line begins: `bytes_` read backwards.
  absl::StatusOr<Span> FindLastLine(bool& terminated) const;
  bool TryAsSingleDocument();
  absl::Status Prepare();
  void FindLines();
  // A capture's text, with the parser's padding behind it.
  DocumentOr Parse(std::string_view padded, uint64_t line_number);
  // Into buffer_, with the parser's padding behind it.
  absl::StatusOr<std::string_view> Load(const Span& span);
  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* to, size_t length) const;
  absl::Status AtLine(uint64_t line_number, std::string_view line,
                      const absl::Status& status) const;

  std::string name_;
  int fd_ = -1;        // or
  std::string text_;   // all of it
  uint64_t bytes_ = 0;
  uint64_t captures_end_ = 0;  // where the summary or a torn line begins, or the file ends
  bool lines_found_ = false;   // captures_ and status_ are what they will be
  std::vector<Span> captures_;
  absl::Status status_;        // of finding the lines
  std::optional<WatchCounters> summary_;
  std::optional<TornLine> torn_line_;
  bool single_document_ = false;
  std::string buffer_;
  std::unique_ptr<JsonParser> parser_ = std::make_unique<JsonParser>();
  std::unique_ptr<ReportParser> report_parser_ = std::make_unique<ReportParser>();
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_FILE_H_
