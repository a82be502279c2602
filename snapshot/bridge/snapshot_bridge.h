// SnapshotBridge: where captures come together, and what Op::Snapshot and Op::WatchSnapshot act on.
//
// In a run with a guest the session makes the bridge; after the machine stopped,
// VmResult::snapshot_bridge is read:
//
//   for (const CaptureEntry& entry : result.snapshot_bridge->DrainOrdered()) …
//
// In a host-side unit test without a guest, the test makes one with callbacks and installs it for
// its thread:
//
//   absl::StatusOr<Report> Capture(std::string_view tag);
//   absl::Status RegisterWatch(std::string_view symbol);
//   SnapshotBridge bridge = SnapshotBridge(Capture).WithWatchRegister(RegisterWatch);
//   SnapshotBridge::ThreadLocalGuard guard = bridge.SetThreadLocal();
//   … ExecuteSteps(ctx, steps) …                       // its ops reach the callbacks
//
// The cap: at most kMaxWatchSnapshots (or WithMaxWatches) watches of a scenario. A registration
// that fails, for whatever reason, consumes none of them.
//
// Threads: every method from any thread, but With… only while one thread has the bridge. Callbacks
// run on the caller's thread, one registration at a time; a register_watch callback must not
// register watches itself. It may store captures.
// Ownership: a SnapshotBridge is a handle; copies share one store, which lives as long as any of
// them (and the guard).
// Errors: the messages are in bridge_messages.h; a callback's status keeps its code and payloads,
// and its words.
#ifndef WATCHSNAP_SNAPSHOT_BRIDGE_SNAPSHOT_BRIDGE_H_
#define WATCHSNAP_SNAPSHOT_BRIDGE_SNAPSHOT_BRIDGE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "snapshot/accessor/snapshot.h"
#include "snapshot/bridge/bridge_messages.h"
#include "snapshot/report/report.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

// Takes a capture now.
using CaptureCallback = std::function<absl::StatusOr<Report>(std::string_view tag)>;

// Arms a watch, so that every write to `symbol` becomes a capture with the symbol as its tag. Where
// it cannot, the status says why: the symbol is not in the symbol table, it is not aligned, no slot
// is free, the host refused. Accepts any string.
using WatchRegisterCallback = std::function<absl::Status(std::string_view symbol)>;

struct CaptureEntry {
  std::string tag;
  uint64_t seq = 0;  // among the captures of this tag, from 0
  TriggerKind kind = TriggerKind::kSnapshot;
  Report report;  // its tag, seq and kind are the entry's

  // The report to read by names and paths; keep it rather than ask again.
  Snapshot snapshot() const { return Snapshot(report); }
};

class SnapshotBridge {
 public:
  class ThreadLocalGuard;

  // A bridge that only stores: Capture and RegisterWatch are refused with the name of what is
  // missing.
  SnapshotBridge();
  explicit SnapshotBridge(CaptureCallback capture);

  SnapshotBridge& WithWatchRegister(WatchRegisterCallback register_watch) &;
  SnapshotBridge&& WithWatchRegister(WatchRegisterCallback register_watch) &&;
  // For a debug plugin that states another capacity than kMaxWatchSnapshots.
  SnapshotBridge& WithMaxWatches(size_t cap) &;
  SnapshotBridge&& WithMaxWatches(size_t cap) &&;

  // Makes this the active bridge of the calling thread until the guard goes; then the one before is
  // active again. Guards go in the reverse order of their making, on the thread that made them.
  [[nodiscard]] ThreadLocalGuard SetThreadLocal() const;
  // The active bridge of the calling thread.
  static std::optional<SnapshotBridge> Active();

  // Op::WatchSnapshot.
  absl::Status RegisterWatch(std::string_view symbol) const;
  // Op::Snapshot: takes a capture and stores it. A tag may be used again.
  absl::Status Capture(std::string_view tag) const;

  // Stores a capture behind those that are there; sets the report's tag, seq and kind. Returns its
  // seq.
  uint64_t Store(std::string_view tag, TriggerKind kind, Report report) const;

  // All captures in the order they were stored, which are then no longer here. Later ones go on
  // counting.
  std::vector<CaptureEntry> DrainOrdered() const;
  // Copies of all that were not drained, in order.
  std::vector<CaptureEntry> All() const;
  // Copies of those under one tag that were not drained.
  std::vector<CaptureEntry> ByTag(std::string_view tag) const;
  size_t size() const;

  // The symbols registered so far, in order.
  std::vector<std::string> RegisteredWatches() const;

  // What became of each watch, by symbol; a registered watch is there from its registration on,
  // with armed = 1.
  std::map<std::string, WatchCounters> Counters() const;
  void SetCounters(std::string_view symbol, const WatchCounters& counters) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

class [[nodiscard]] SnapshotBridge::ThreadLocalGuard {
 public:
  ThreadLocalGuard(ThreadLocalGuard&& other) noexcept;
  ThreadLocalGuard& operator=(ThreadLocalGuard&&) = delete;
  // CHECK-fails unless this guard's bridge is the active one of this thread.
  ~ThreadLocalGuard();

 private:
  friend class SnapshotBridge;
  explicit ThreadLocalGuard(size_t depth) : depth_(depth) {}
  size_t depth_;  // 0: moved from
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_BRIDGE_SNAPSHOT_BRIDGE_H_
