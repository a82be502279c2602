#include "snapshot/session/report_store.h"

#include <utility>

namespace watchsnap {

absl::StatusOr<ReportStore::Entry*> ReportStore::Get(std::string_view tag) {
  auto it = entries_.find(tag);
  if (it != entries_.end()) return &it->second;
  Entry entry;
  if (!sidecar_dir_.empty()) {
    absl::StatusOr<std::unique_ptr<SidecarWriter>> writer =
        SidecarWriter::Create(sidecar_dir_, test_name_, tag);
    if (!writer.ok()) return writer.status();
    entry.writer = *std::move(writer);
  }
  return &entries_.emplace(std::string(tag), std::move(entry)).first->second;
}

absl::Status ReportStore::Open(std::string_view tag) {
  absl::MutexLock lock(&mutex_);
  return Get(tag).status();
}

absl::Status ReportStore::Write(std::string_view tag, absl::Span<Report* const> reports) {
  absl::StatusOr<Entry*> entry = Get(tag);
  if (!entry.ok()) return entry.status();
  uint64_t seq = (*entry)->count;
  for (Report* report : reports) report->seq = seq++;
  if ((*entry)->writer != nullptr) {
    absl::Status status = (*entry)->writer->AppendAll(reports);
    if (!status.ok()) return status;
  }
  (*entry)->count = seq;
  return absl::OkStatus();
}

std::vector<absl::Status> ReportStore::AddAll(std::vector<Report> reports) {
  std::vector<absl::Status> kept(reports.size());
  std::map<std::string_view, std::vector<size_t>> by_tag;
  for (size_t i = 0; i < reports.size(); ++i) by_tag[reports[i].tag].push_back(i);
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [tag, indices] : by_tag) {
      std::vector<Report*> of_tag;
      for (const size_t i : indices) of_tag.push_back(&reports[i]);
      const absl::Status status = Write(tag, of_tag);
      for (const size_t i : indices) kept[i] = status;
    }
  }
  for (size_t i = 0; i < reports.size(); ++i) {
    if (!kept[i].ok()) continue;
    if (on_report_) on_report_(reports[i]);
    if (bridge_ == nullptr) continue;
    const std::string tag = reports[i].tag;
    const TriggerKind kind = reports[i].trigger.kind;
    bridge_->Store(tag, kind, std::move(reports[i]));
  }
  if (on_reports_end_) on_reports_end_();
  return kept;
}

absl::Status ReportStore::Finish(const std::map<std::string, WatchCounters>& counters) {
  absl::Status first;
  absl::MutexLock lock(&mutex_);
  for (auto& [tag, entry] : entries_) {
    if (entry.writer == nullptr) continue;
    auto it = counters.find(tag);
    WatchCounters summary;
    if (it != counters.end()) {
      summary = it->second;
    } else {
      summary.hits = summary.captured = entry.count;
    }
    absl::Status status = entry.writer->Finish(summary);
    if (first.ok()) first = status;
  }
  return first;
}

std::vector<std::string> ReportStore::sidecar_paths() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> paths;
  for (const auto& [tag, entry] : entries_) {
    if (entry.writer != nullptr) paths.push_back(entry.writer->path());
  }
  return paths;
}

}  // namespace watchsnap
