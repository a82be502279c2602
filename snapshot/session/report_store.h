// ReportStore: where rendered reports go: numbered by tag, kept by the bridge, written to the tag's
// sidecar, shown to the caller. One sidecar a tag; it exists from registration on.
//
// Threads: Open from the coordinating thread, Add from the renderer's, Finish after both.
// Errors: Add's are counted as lost by the renderer; Open's refuse the watch.
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
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/report/report.h"
#include "snapshot/report/sidecar_writer.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

class ReportStore {
 public:
  // Without a `bridge` reports are not kept.
  ReportStore(std::string sidecar_dir, std::string test_name, std::shared_ptr<SnapshotBridge> bridge,
              std::function<void(const Report&)> on_report)
      : sidecar_dir_(std::move(sidecar_dir)),
        test_name_(std::move(test_name)),
        bridge_(std::move(bridge)),
        on_report_(std::move(on_report)) {}

  // Creates the sidecar of `tag`; no-op where it exists, or without a directory.
  absl::Status Open(std::string_view tag);
  absl::Status Add(Report report);
  // Writes the summary lines; `counters` by tag (a tag without a watch gets its number of captures).
  absl::Status Finish(const std::map<std::string, WatchCounters>& counters);
  std::vector<std::string> sidecar_paths() const;

 private:
  struct Entry {
    uint64_t count = 0;
    std::unique_ptr<SidecarWriter> writer;
  };
  absl::StatusOr<Entry*> Get(std::string_view tag) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string sidecar_dir_;
  const std::string test_name_;
  const std::shared_ptr<SnapshotBridge> bridge_;
  const std::function<void(const Report&)> on_report_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SESSION_REPORT_STORE_H_
