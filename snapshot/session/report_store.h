// ReportStore: where rendered reports go: numbered by tag, kept by the bridge, written to the tag's
// sidecar, shown to the caller. One sidecar a tag; it exists from registration on.
//
// Threads: Open from the coordinating thread, AddAll from the renderer's, Finish after both.
// Errors: AddAll's are counted as lost by the renderer; Open's refuse the watch.
#ifndef WATCHSNAP_SNAPSHOT_SESSION_REPORT_STORE_H_
#define WATCHSNAP_SNAPSHOT_SESSION_REPORT_STORE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/report/report.h"
#include "snapshot/report/sidecar_writer.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

class ReportStore {
 public:
  // Without a `bridge` reports are not kept.
  // `on_report` for each that was kept; `on_reports_end` after the last of a batch. Both may be null.
  ReportStore(std::string sidecar_dir, std::string test_name, std::shared_ptr<SnapshotBridge> bridge,
              std::function<void(const Report&)> on_report,
              std::function<void()> on_reports_end = nullptr)
      : sidecar_dir_(std::move(sidecar_dir)),
        test_name_(std::move(test_name)),
        bridge_(std::move(bridge)),
        on_report_(std::move(on_report)),
        on_reports_end_(std::move(on_reports_end)) {}

  // Creates the sidecar of `tag`; no-op where it exists, or without a directory.
  absl::Status Open(std::string_view tag);
  // In order; those of a tag by one write. One status for each.
  std::vector<absl::Status> AddAll(std::vector<Report> reports);
  // Writes the summary lines; `counters` by tag (a tag without a watch gets its number of captures).
  absl::Status Finish(const std::map<std::string, WatchCounters>& counters);
  std::vector<std::string> sidecar_paths() const;

 private:
  struct Entry {
    uint64_t count = 0;
    std::unique_ptr<SidecarWriter> writer;
  };
  // Numbers and writes all of that tag.
  absl::Status Write(std::string_view tag, absl::Span<Report* const> reports)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Entry*> Get(std::string_view tag) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string sidecar_dir_;
  const std::string test_name_;
  const std::shared_ptr<SnapshotBridge> bridge_;
  const std::function<void(const Report&)> on_report_;
  const std::function<void()> on_reports_end_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SESSION_REPORT_STORE_H_
