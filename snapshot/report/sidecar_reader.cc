#include "snapshot/report/sidecar_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>
#include <variant>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "snapshot/report/report_parse.h"

namespace watchsnap {
namespace {

constexpr size_t kShownBytes = 120;

absl::Status AtLine(std::string_view name, uint64_t line_number, std::string_view line,
                    const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(name, ":", line_number, ": ", status.message(),
                                   "; the line is: ", absl::CHexEscape(line.substr(0, kShownBytes)),
                                   line.size() > kShownBytes ? "…" : ""));
}

// `padded` is the file's content and kJsonPadding bytes more.
absl::StatusOr<Sidecar> ParsePadded(std::string_view padded, std::string_view name) {
  std::string_view rest = padded.substr(0, padded.size() - kJsonPadding);
  Sidecar sidecar;
  ReportParser parser;
  for (uint64_t line_number = 1; !rest.empty(); ++line_number) {
    const size_t end = rest.find('\n');
    const bool terminated = end != std::string_view::npos;
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(terminated ? end + 1 : rest.size());
    if (!terminated && !parser.IsWellFormed(line)) {
      sidecar.torn_line = TornLine{line_number, std::string(line)};
      break;
    }
    if (sidecar.summary.has_value()) {
      return AtLine(name, line_number, line,
                    absl::InvalidArgumentError("a line after the summary, which is the last one"));
    }
    absl::StatusOr<SidecarLine> parsed = parser.ParsePadded(line);
    if (!parsed.ok()) return AtLine(name, line_number, line, parsed.status());
    if (auto* report = std::get_if<Report>(&*parsed)) {
      sidecar.reports.push_back(std::move(*report));
    } else {
      sidecar.summary = std::get<WatchCounters>(*parsed);
    }
  }
  return sidecar;
}

}  // namespace

absl::StatusOr<Sidecar> ReadSidecar(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open the sidecar ", path));
  const absl::Cleanup closer = [fd] { close(fd); };
  struct stat info = {};
  if (fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("stat ", path));
  std::string content(static_cast<size_t>(info.st_size) + kJsonPadding, '\0');
  size_t have = 0;
  while (have + kJsonPadding < content.size()) {
    const ssize_t got = read(fd, content.data() + have, content.size() - kJsonPadding - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, absl::StrCat("read the sidecar ", path));
    if (got == 0) break;  // shortened meanwhile
    have += static_cast<size_t>(got);
  }
  content.resize(have);
  content.append(kJsonPadding, '\0');
  return ParsePadded(content, path);
}

absl::StatusOr<Sidecar> ParseSidecar(std::string_view content, std::string_view name) {
  std::string padded(content);
  padded.append(kJsonPadding, '\0');
  return ParsePadded(padded, name);
}

}  // namespace watchsnap
