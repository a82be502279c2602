// What the handles of one Snapshot share: the parsed report, and what it says of itself. Private to
// this folder.
//
// Threads: immutable, but for the first call, which may parse (a live report is rendered and parsed
// once, when it is first read); any thread.
#ifndef WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_SOURCE_H_
#define WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_SOURCE_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "snapshot/accessor/path.h"
#include "snapshot/report/json_document.h"
#include "snapshot/report/report.h"

namespace watchsnap {

// A value's place in a report.
struct Place {
  JsonNode node;
  std::string asked;  // as the reader came here, for messages: trigger.task.parent.comm
  std::string home;   // where it stands in the report: objects["0x…"].value.comm
};

class SnapshotSource {
 public:
  explicit SnapshotSource(Report report) : report_(std::move(report)) {}
  explicit SnapshotSource(absl::StatusOr<std::shared_ptr<const JsonDocument>> document)
      : document_(std::move(document)) {}

  // An error if there is no report to read.
  absl::StatusOr<Place> Root() const;

  // From `start` along `path`, through pointers whose pointees were captured.
  absl::StatusOr<Place> Walk(Place start, const Path& path) const;

  // An error of this capture about `home`: DATA_LOSS, with the reason, where the report says that
  // something there is degraded; else `code`. `missing`: nothing stands there, so that what is said
  // of its parts counts too.
  absl::Status Error(absl::StatusCode code, std::string_view text, std::string_view home,
                     bool missing) const;

  // The same without a look at what is degraded: the question is wrong, whatever is missing.
  absl::Status Labelled(absl::StatusCode code, std::string_view text) const;

  // What `degraded` says of `home` exactly, or of something that it is part of.
  std::optional<std::string> WhyDegraded(std::string_view home, bool parts_too) const;
  std::optional<std::string> WhyDegradedExactly(std::string_view home) const;
  // Why there may be BPF maps, or their contents, that are not in the report.
  std::optional<std::string> WhyMapsAreMissing() const;

 private:
  struct Shortfall {
    std::vector<Path> whats;
    std::string what;
    std::string why;
  };
  void Load() const;
  absl::StatusOr<Place> Member(const Place& at, const std::string& name) const;
  absl::StatusOr<Place> Element(const Place& at, uint64_t index) const;
  absl::StatusOr<Place> Follow(const Place& at) const;

  mutable absl::once_flag once_;
  mutable std::optional<Report> report_;
  mutable std::optional<absl::StatusOr<std::shared_ptr<const JsonDocument>>> document_;
  mutable std::string label_;  // "jiffies_64#7"
  mutable std::vector<Shortfall> degraded_;
};

// True of "0x…" strings, as pointers are rendered.
bool IsPointer(JsonNode node);
// The value for a message: `42`, `"init"`, `an object of 5 members`.
std::string Shown(JsonNode node);
std::vector<std::string> MemberNames(JsonNode node);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_SOURCE_H_
