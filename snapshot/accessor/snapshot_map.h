// SnapshotMap: a BPF map of a capture, and SnapshotEntry: one of its entries.
//
//   snapshot.Map("mini.bss").Get("nr_enqueued").AsU64()              // a global section
//   snapshot.Map("counters").Find(7).Get("hits").AsU64()             // by key
//   snapshot.Map("tasks").Find([](const SnapshotEntry& e) { return e.Get("comm").Is("init"); })
//   snapshot.Map("tasks").Filter(…).MaxBy("runtime").Key().AsU64()
//   snapshot.Map("percpu").At(0).Cpu(1).AsU64()                      // or .Cpu(1).At(0)
//
// A map whose entries were cut says so: what could be wrong for it (no match, the greatest, the
// count) is DATA_LOSS with the numbers, unless Captured() was asked for: then it is of what was
// captured. The same goes for entries that a predicate could not read because they are degraded.
//
// Errors, ownership and threads as in snapshot_value.h; also OUT_OF_RANGE for an index past the end
// and NOT_FOUND where nothing matches.
#ifndef WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_MAP_H_
#define WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_MAP_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "snapshot/accessor/snapshot_value.h"

namespace watchsnap {

class SnapshotEntry {
 public:
  const SnapshotValue& Key() const { return key_; }
  const SnapshotValue& Value() const { return value_; }
  // Of the value.
  SnapshotValue Get(std::string_view path) const { return value_.Get(path); }
  SnapshotEntry Cpu(uint64_t cpu) const { return SnapshotEntry(key_, value_.Cpu(cpu)); }
  absl::StatusOr<uint64_t> AsU64() const { return value_.AsU64(); }
  absl::StatusOr<int64_t> AsI64() const { return value_.AsI64(); }
  absl::StatusOr<bool> AsBool() const { return value_.AsBool(); }
  absl::StatusOr<double> AsF64() const { return value_.AsF64(); }
  absl::StatusOr<std::string> AsStr() const { return value_.AsStr(); }
  template <typename T>
  absl::StatusOr<bool> Is(const T& expected) const {
    return value_.Is(expected);
  }

  bool ok() const { return value_.ok(); }
  const absl::Status& status() const { return value_.status(); }

 private:
  friend class SnapshotMap;
  SnapshotEntry(SnapshotValue key, SnapshotValue value)
      : key_(std::move(key)), value_(std::move(value)) {}
  explicit SnapshotEntry(const absl::Status& error) : key_(error), value_(error) {}
  SnapshotValue key_;
  SnapshotValue value_;
};

// An error ends the search, except IsDegraded(): then the entry counts as one that was cut.
using EntryPredicate = std::function<absl::StatusOr<bool>(const SnapshotEntry&)>;
using EntryNumber = std::function<absl::StatusOr<long double>(const SnapshotEntry&)>;

class SnapshotMap {
 public:
  // Of an array, the entry with this index; of any other map or a filtered one, the one at this
  // place in the capture. At(0) of a global section is all of it.
  SnapshotEntry At(uint64_t index) const;

  SnapshotEntry Find(const EntryPredicate& predicate) const;
  template <std::integral T>
  SnapshotEntry Find(T key) const {
    return FindKey([key](const SnapshotEntry& entry) { return entry.Key().Is(key); },
                   std::to_string(key));
  }
  SnapshotEntry Find(std::string_view key) const;
  SnapshotEntry Find(const char* key) const { return Find(std::string_view(key)); }

  SnapshotMap Filter(const EntryPredicate& predicate) const;
  // The entry whose value at `path` is the greatest; of several the first.
  SnapshotEntry MaxBy(std::string_view path) const;
  SnapshotEntry MaxBy(const char* path) const { return MaxBy(std::string_view(path)); }
  SnapshotEntry MaxBy(const EntryNumber& number) const;

  // The same map with the values of one CPU.
  SnapshotMap Cpu(uint64_t cpu) const;
  // The same, content with what was captured.
  SnapshotMap Captured() const;

  // A variable of a global section, or a part of it.
  SnapshotValue Get(std::string_view path) const;
  // "id", "type", "key_size", "max_entries", "entries_total", …
  SnapshotValue Attribute(std::string_view name) const;

  absl::StatusOr<size_t> Count() const;
  absl::StatusOr<std::vector<SnapshotEntry>> Entries() const;

  bool ok() const { return map_.ok(); }
  const absl::Status& status() const { return map_.status(); }
  const std::string& name() const { return name_; }

 private:
  friend class Snapshot;
  explicit SnapshotMap(absl::Status error);
  SnapshotMap(std::string name, SnapshotValue map);

  SnapshotEntry FindKey(const EntryPredicate& predicate, std::string_view key) const;
  // `matches` or the first error that is not about degraded evidence; counts the others.
  absl::StatusOr<bool> Try(const EntryPredicate& predicate, const SnapshotEntry& entry,
                           std::string& shortfall) const;
  // DATA_LOSS where something is missing that was not waived by Captured().
  absl::Status Whole(std::string_view question, const std::string& shortfall) const;
  absl::Status Error(absl::StatusCode code, std::string_view text) const;

  std::string name_;
  SnapshotValue map_;  // the map's object
  std::shared_ptr<const std::vector<SnapshotEntry>> entries_;
  bool section_ = false;
  bool by_index_ = false;  // an array: At goes by the key
  std::string incomplete_;   // why these are not all entries; empty: they are
  bool captured_ = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_MAP_H_
