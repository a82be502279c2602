#include "writer_counts.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "debug/registry.h"

namespace embedder {

using watchsnap::DebugDevice;
using watchsnap::DebugTarget;
using watchsnap::WatchHit;
using watchsnap::WatchHits;
using watchsnap::WatchId;
using watchsnap::WatchSpec;

WriterCounts::WriterCounts(DebugTarget& target, std::unique_ptr<DebugDevice> traps)
    : target_(target), traps_(std::move(traps)), tables_(target.vcpu_count()) {}

std::unique_ptr<WriterCounts> WriterCounts::Over(std::string_view plugin, DebugTarget& target) {
  absl::StatusOr<std::unique_ptr<DebugDevice>> traps = watchsnap::CreateDebugDevice(plugin, target);
  auto device = std::make_unique<WriterCounts>(target, traps.ok() ? *std::move(traps) : nullptr);
  device->no_traps_ = traps.status();
  return device;
}

watchsnap::DebugCapabilities WriterCounts::Capabilities() const {
  watchsnap::DebugCapabilities capabilities;
  if (traps_ != nullptr) capabilities = traps_->Capabilities();
  absl::StrAppend(&capabilities.cost, "; counts the writers, freezes nothing");
  return capabilities;
}

absl::StatusOr<WatchId> WriterCounts::Arm(const WatchSpec& spec) {
  if (traps_ == nullptr) return no_traps_;
  return traps_->Arm(spec);
}

absl::Status WriterCounts::Disarm(WatchId watch) {
  return traps_ == nullptr ? no_traps_ : traps_->Disarm(watch);
}

absl::Status WriterCounts::Retarget(WatchId watch, uint64_t address, uint32_t length) {
  return traps_ == nullptr ? no_traps_ : traps_->Retarget(watch, address, length);
}

absl::Status WriterCounts::TryHost(int vcpus) {
  return traps_ == nullptr ? no_traps_ : traps_->TryHost(vcpus);
}

void WriterCounts::OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) {
  if (traps_ == nullptr) return;
  traps_->OnExit(vcpu, exit, hits);
  CountHits(vcpu, hits);
}

watchsnap::MmioAnswer WriterCounts::OnMmio(int vcpu, uint64_t gpa, absl::Span<uint8_t> data, bool is_write) {
  return traps_ == nullptr ? watchsnap::MmioAnswer::kNotMine : traps_->OnMmio(vcpu, gpa, data, is_write);
}

void WriterCounts::OnMmioComplete(int vcpu, WatchHits& hits) {
  if (traps_ == nullptr) return;
  traps_->OnMmioComplete(vcpu, hits);
  CountHits(vcpu, hits);
}

bool WriterCounts::OnMemoryFault(int vcpu, WatchHits& hits) {
  const bool mended = traps_ != nullptr && traps_->OnMemoryFault(vcpu, hits);
  CountHits(vcpu, hits);
  return mended;
}

bool WriterCounts::OnInternalError(int vcpu, WatchHits& hits, std::string& explanation) {
  const bool mended = traps_ != nullptr && traps_->OnInternalError(vcpu, hits, explanation);
  CountHits(vcpu, hits);
  return mended;
}

void WriterCounts::MoreHits(int vcpu, WatchHits& hits) {
  if (traps_ == nullptr) return DebugDevice::MoreHits(vcpu, hits);
  traps_->MoreHits(vcpu, hits);
  CountHits(vcpu, hits);
}

void WriterCounts::CountHits(int vcpu, WatchHits& hits) {
  for (int i = 0; i < hits.count; ++i) {
    WatchHit& hit = hits.hits[i];
    if (hit.reserved_slot) continue;
    Add(tables_[vcpu], hit.address, hit.next_pc);
    hit.count_only = true;
  }
}

void WriterCounts::Add(Table& table, uint64_t address, uint64_t next_pc) {
  const size_t first = (next_pc ^ (address >> 3)) % table.counts.size();
  for (size_t i = 0; i < table.counts.size(); ++i) {
    Count& count = table.counts[(first + i) % table.counts.size()];
    if (count.address == 0) count = {address, next_pc, 0};
    if (count.address == address && count.next_pc == next_pc) {
      ++count.writes;
      return;
    }
  }
  ++table.others;
}

std::vector<std::string> WriterCounts::Summary() {
  std::map<std::pair<uint64_t, std::string>, uint64_t> by_function;
  uint64_t others = 0;
  for (const Table& table : tables_) {
    others += table.others;
    for (const Count& count : table.counts) {
      if (count.writes == 0) continue;
      // The instruction before it is in the function, also where the store is its last.
      std::string function = target_.FunctionAt(count.next_pc - 1);
      if (function.empty()) function = absl::StrCat("0x", absl::Hex(count.next_pc));
      by_function[{count.address, std::move(function)}] += count.writes;
    }
  }
  std::vector<std::pair<uint64_t, std::string>> sorted;
  for (const auto& [writer, writes] : by_function) {
    sorted.push_back({writes, absl::StrCat("0x", absl::Hex(writer.first), ": ", writes, " writes by ", writer.second)});
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> lines;
  for (auto& [writes, line] : sorted) lines.push_back(std::move(line));
  if (others > 0) lines.push_back(absl::StrCat(others, " writes by further places"));
  return lines;
}

REGISTER_DEBUG_DEVICE("writer_counts", [](DebugTarget& target) -> std::unique_ptr<DebugDevice> {
  return WriterCounts::Over("hw_watch", target);
});

}  // namespace embedder
