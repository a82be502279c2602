#include "snapshot/report/sidecar_reader.h"

#include <utility>

namespace watchsnap {
namespace {

absl::StatusOr<Sidecar> ReadAll(absl::StatusOr<SidecarFile> file) {
  if (!file.ok()) return file.status();
  Sidecar sidecar{.reports = {}, .summary = file->summary(), .torn_line = file->torn_line()};
  sidecar.reports.reserve(file->size());
  for (size_t i = 0; i < file->size(); ++i) {
    absl::StatusOr<Report> report = file->ReadReport(i);
    if (!report.ok()) return report.status();
    sidecar.reports.push_back(*std::move(report));
  }
  return sidecar;
}

}  // namespace

absl::StatusOr<Sidecar> ReadSidecar(const std::string& path) {
  return ReadAll(SidecarFile::Open(path));
}

absl::StatusOr<Sidecar> ParseSidecar(std::string_view content, std::string_view name) {
  return ReadAll(SidecarFile::FromText(std::string(content), std::string(name)));
}

}  // namespace watchsnap
