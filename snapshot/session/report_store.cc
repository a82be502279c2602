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

absl::Status ReportStore::Add(Report report) {
  {
    absl::MutexLock lock(&mutex_);
    absl::StatusOr<Entry*> entry = Get(report.tag);
    if (!entry.ok()) return entry.status();
    report.seq = (*entry)->count;
    if ((*entry)->writer != nullptr) {
      absl::Status status = (*entry)->writer->Append(report);
      if (!status.ok()) return status;
    }
    ++(*entry)->count;
  }
  if (on_report_) on_report_(report);
  if (bridge_ == nullptr) return absl::OkStatus();
  const std::string tag = report.tag;
  const TriggerKind kind = report.trigger.kind;
  bridge_->Store(tag, kind, std::move(report));
  return absl::OkStatus();
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
