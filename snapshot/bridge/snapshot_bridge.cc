#include "snapshot/bridge/snapshot_bridge.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/log/check.h"
#include "absl/strings/cord.h"
#include "absl/synchronization/mutex.h"

namespace watchsnap {
namespace {

// The bridges that this thread installed, the active one last.
std::vector<SnapshotBridge>& ThreadBridges() {
  thread_local std::vector<SnapshotBridge> bridges;
  return bridges;
}

// `status` in other words: code and payloads stay.
absl::Status Reworded(const absl::Status& status, std::string message) {
  absl::Status reworded(status.code(), message);
  status.ForEachPayload([&](std::string_view type, const absl::Cord& payload) {
    reworded.SetPayload(type, payload);
  });
  return reworded;
}

}  // namespace

struct SnapshotBridge::State {
  // Set before the bridge is shared (With…), then only read.
  CaptureCallback capture;
  WatchRegisterCallback register_watch;
  size_t max_watches = kMaxWatchSnapshots;

  // Held while a watch is being registered, so that one that fails never takes the place of
  // another. Before `mutex`.
  absl::Mutex registration ABSL_ACQUIRED_BEFORE(mutex);

  mutable absl::Mutex mutex;
  std::vector<std::string> watches ABSL_GUARDED_BY(mutex);
  std::vector<CaptureEntry> entries ABSL_GUARDED_BY(mutex);
  std::map<std::string, uint64_t, std::less<>> next_seq ABSL_GUARDED_BY(mutex);
  std::map<std::string, WatchCounters> counters ABSL_GUARDED_BY(mutex);
};

SnapshotBridge::SnapshotBridge() : state_(std::make_shared<State>()) {}

SnapshotBridge::SnapshotBridge(CaptureCallback capture) : SnapshotBridge() {
  state_->capture = std::move(capture);
}

SnapshotBridge& SnapshotBridge::WithWatchRegister(WatchRegisterCallback register_watch) & {
  state_->register_watch = std::move(register_watch);
  return *this;
}

SnapshotBridge&& SnapshotBridge::WithWatchRegister(WatchRegisterCallback register_watch) && {
  return std::move(WithWatchRegister(std::move(register_watch)));
}

SnapshotBridge& SnapshotBridge::WithMaxWatches(size_t cap) & {
  state_->max_watches = cap;
  return *this;
}

SnapshotBridge&& SnapshotBridge::WithMaxWatches(size_t cap) && {
  return std::move(WithMaxWatches(cap));
}

SnapshotBridge::ThreadLocalGuard SnapshotBridge::SetThreadLocal() const {
  ThreadBridges().push_back(*this);
  return ThreadLocalGuard(ThreadBridges().size());
}

std::optional<SnapshotBridge> SnapshotBridge::Active() {
  if (ThreadBridges().empty()) return std::nullopt;
  return ThreadBridges().back();
}

absl::Status SnapshotBridge::RegisterWatch(std::string_view symbol) const {
  if (symbol.empty()) return absl::InvalidArgumentError(EmptySymbolMessage());
  if (!state_->register_watch) {
    return absl::FailedPreconditionError(MissingWatchRegisterMessage(symbol));
  }
  absl::MutexLock registration(&state_->registration);
  {
    absl::MutexLock lock(&state_->mutex);
    const auto& watches = state_->watches;
    if (std::find(watches.begin(), watches.end(), symbol) != watches.end()) {
      return absl::AlreadyExistsError(DuplicateWatchMessage(symbol));
    }
    if (watches.size() >= state_->max_watches) {
      return absl::ResourceExhaustedError(CapExceededMessage(symbol, state_->max_watches));
    }
  }
  // Without `mutex`: the callback may take long, and captures may come before it returns.
  const absl::Status status = state_->register_watch(symbol);
  if (!status.ok()) return Reworded(status, WatchRefusedMessage(symbol, status.message()));
  absl::MutexLock lock(&state_->mutex);
  state_->watches.emplace_back(symbol);
  WatchCounters& counters = state_->counters[std::string(symbol)];
  counters.armed = std::max<uint64_t>(counters.armed, 1);
  return absl::OkStatus();
}

absl::Status SnapshotBridge::Capture(std::string_view tag) const {
  if (!state_->capture) return absl::FailedPreconditionError(MissingCaptureMessage(tag));
  absl::StatusOr<Report> report = state_->capture(tag);
  if (!report.ok()) {
    return Reworded(report.status(), CaptureFailedMessage(tag, report.status().message()));
  }
  Store(tag, TriggerKind::kSnapshot, *std::move(report));
  return absl::OkStatus();
}

uint64_t SnapshotBridge::Store(std::string_view tag, TriggerKind kind, Report report) const {
  report.tag = std::string(tag);
  report.trigger.kind = kind;
  absl::MutexLock lock(&state_->mutex);
  auto next = state_->next_seq.find(tag);
  if (next == state_->next_seq.end()) next = state_->next_seq.emplace(tag, 0).first;
  report.seq = next->second++;
  const uint64_t seq = report.seq;
  state_->entries.push_back({std::string(tag), seq, kind, std::move(report)});
  return seq;
}

std::vector<CaptureEntry> SnapshotBridge::DrainOrdered() const {
  absl::MutexLock lock(&state_->mutex);
  return std::exchange(state_->entries, {});
}

std::vector<CaptureEntry> SnapshotBridge::All() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->entries;
}

std::vector<CaptureEntry> SnapshotBridge::ByTag(std::string_view tag) const {
  absl::MutexLock lock(&state_->mutex);
  std::vector<CaptureEntry> found;
  for (const CaptureEntry& entry : state_->entries) {
    if (entry.tag == tag) found.push_back(entry);
  }
  return found;
}

size_t SnapshotBridge::size() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->entries.size();
}

std::vector<std::string> SnapshotBridge::RegisteredWatches() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->watches;
}

std::map<std::string, WatchCounters> SnapshotBridge::Counters() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->counters;
}

void SnapshotBridge::SetCounters(std::string_view symbol, const WatchCounters& counters) const {
  absl::MutexLock lock(&state_->mutex);
  state_->counters.insert_or_assign(std::string(symbol), counters);
}

SnapshotBridge::ThreadLocalGuard::ThreadLocalGuard(ThreadLocalGuard&& other) noexcept
    : depth_(std::exchange(other.depth_, 0)) {}

SnapshotBridge::ThreadLocalGuard::~ThreadLocalGuard() {
  if (depth_ == 0) return;
  CHECK_EQ(depth_, ThreadBridges().size())
      << "thread-local bridges must be taken away in the reverse order of their installation, on "
         "the thread that installed them";
  ThreadBridges().pop_back();
}

}  // namespace watchsnap
