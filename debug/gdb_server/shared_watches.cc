#include "debug/gdb_server/shared_watches.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap::gdb {

absl::StatusOr<WatchId> SharedWatches::ArmForDebugger(uint64_t address, uint32_t length) {
  WatchSpec spec;
  spec.address = address;
  spec.length = length;
  spec.tag = absl::StrFormat("gdb's %#x", address);
  return ArmFor(kDebugger, spec);
}

absl::Status SharedWatches::DisarmForDebugger(WatchId watch) { return DisarmFor(kDebugger, watch); }

absl::StatusOr<WatchId> SharedWatches::ArmFor(Owner owner, const WatchSpec& spec) {
  absl::MutexLock arm_lock(&arm_mutex_);
  if (!spec.reserved_slot) {
    absl::MutexLock lock(&mutex_);
    for (Watch& watch : watches_) {
      if (watch.reserved_slot || watch.address != spec.address || watch.length != spec.length ||
          (watch.owners & owner) != 0) {
        continue;
      }
      watch.owners |= owner;
      return watch.id;
    }
  }
  absl::StatusOr<WatchId> id = plugin_->Arm(spec);
  if (!id.ok()) return id;
  // A hit before this line is of nobody's known: it goes to the session, which is right for its own
  // watches; the debugger arms while it holds all vCPUs.
  absl::MutexLock lock(&mutex_);
  watches_.push_back({*id, spec.address, spec.length, spec.reserved_slot, owner});
  return id;
}

absl::Status SharedWatches::DisarmFor(Owner owner, WatchId id) {
  absl::MutexLock arm_lock(&arm_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    auto watch = std::find_if(watches_.begin(), watches_.end(),
                              [id](const Watch& candidate) { return candidate.id == id; });
    if (watch == watches_.end() || (watch->owners & owner) == 0) {
      return absl::NotFoundError(absl::StrCat("there is no watch ", id, " to disarm"));
    }
    watch->owners &= ~static_cast<unsigned>(owner);
    if (watch->owners != 0) return absl::OkStatus();
    watches_.erase(watch);
  }
  return plugin_->Disarm(id);
}

absl::Status SharedWatches::Retarget(WatchId id, uint64_t address, uint32_t length) {
  absl::Status status = plugin_->Retarget(id, address, length);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  for (Watch& watch : watches_) {
    if (watch.id != id) continue;
    watch.address = address;
    watch.length = length;
  }
  return absl::OkStatus();
}

void SharedWatches::OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) {
  plugin_->OnExit(vcpu, exit, hits);
  ShareOut(vcpu, hits);
}

void SharedWatches::OnMmioComplete(int vcpu, WatchHits& hits) {
  plugin_->OnMmioComplete(vcpu, hits);
  ShareOut(vcpu, hits);
}

bool SharedWatches::OnMemoryFault(int vcpu, WatchHits& hits) {
  const bool mended = plugin_->OnMemoryFault(vcpu, hits);
  ShareOut(vcpu, hits);
  return mended;
}

bool SharedWatches::OnInternalError(int vcpu, WatchHits& hits, std::string& explanation) {
  const bool mended = plugin_->OnInternalError(vcpu, hits, explanation);
  ShareOut(vcpu, hits);
  return mended;
}

void SharedWatches::MoreHits(int vcpu, WatchHits& hits) {
  plugin_->MoreHits(vcpu, hits);
  ShareOut(vcpu, hits);
}

void SharedWatches::ShareOut(int vcpu, WatchHits& hits) {
  // As long as there are some: an empty list would say that there are no more.
  while (hits.count > 0) {
    KeepTheSessions(hits);
    if (hits.count > 0) return;
    plugin_->MoreHits(vcpu, hits);
  }
}

void SharedWatches::KeepTheSessions(WatchHits& hits) {
  int kept = 0;
  for (int i = 0; i < hits.count; ++i) {
    const WatchHit hit = hits.hits[i];
    unsigned owners = kSession;
    {
      absl::MutexLock lock(&mutex_);
      for (const Watch& watch : watches_) {
        if (watch.id == hit.watch) owners = watch.owners;
      }
    }
    if ((owners & kDebugger) != 0) listener_.OnDebuggerHit(hit);
    if ((owners & kSession) != 0) hits.hits[kept++] = hit;
  }
  hits.count = kept;
}

}  // namespace watchsnap::gdb
