#include "debug/gdb_server/guest_code.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"

namespace watchsnap::gdb {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint8_t kBreakpointInstruction = 0xcc;  // INT3, SDM vol. 2

absl::Status NotMapped(uint64_t address) {
  return absl::NotFoundError(
      absl::StrFormat("the guest has no RAM mapped at %#x, as its page tables stand", address));
}

}  // namespace

void GuestCode::ForEachStretch(
    int vcpu, uint64_t address, uint64_t length,
    absl::FunctionRef<void(uint8_t* host, uint64_t offset, uint64_t bytes)> visit) {
  for (uint64_t done = 0; done < length;) {
    const uint64_t at = address + done;
    if (at < address) return;  // the end of the address space
    const uint64_t bytes = std::min(length - done, kPageSize - at % kPageSize);
    uint8_t* host = target_.HostAddress(vcpu, at, bytes);
    if (host == nullptr) return;
    visit(host, done, bytes);
    done += bytes;
  }
}

absl::StatusOr<std::vector<uint8_t>> GuestCode::Read(int vcpu, uint64_t address, uint64_t length) {
  std::vector<uint8_t> bytes(length);
  uint64_t got = 0;
  absl::MutexLock lock(&mutex_);
  ForEachStretch(vcpu, address, length, [&](uint8_t* host, uint64_t offset, uint64_t count) {
    std::memcpy(bytes.data() + offset, host, count);
    got = offset + count;
    for (const auto& [at, breakpoint] : breakpoints_) {
      if (breakpoint.host >= host && breakpoint.host < host + count &&
          *breakpoint.host == kBreakpointInstruction) {
        bytes[offset + (breakpoint.host - host)] = breakpoint.original;
      }
    }
  });
  if (got == 0 && length != 0) return NotMapped(address);
  bytes.resize(got);
  return bytes;
}

absl::Status GuestCode::Write(int vcpu, uint64_t address, absl::Span<const uint8_t> bytes) {
  uint64_t mapped = 0;
  ForEachStretch(vcpu, address, bytes.size(),
                 [&mapped](uint8_t*, uint64_t offset, uint64_t count) { mapped = offset + count; });
  if (mapped != bytes.size()) return NotMapped(address + mapped);
  absl::MutexLock lock(&mutex_);
  ForEachStretch(vcpu, address, bytes.size(), [&](uint8_t* host, uint64_t offset, uint64_t count) {
    std::vector<Breakpoint*> covered;
    for (auto& [at, breakpoint] : breakpoints_) {
      if (breakpoint.host >= host && breakpoint.host < host + count &&
          *breakpoint.host == kBreakpointInstruction) {
        covered.push_back(&breakpoint);
      }
    }
    std::memcpy(host, bytes.data() + offset, count);
    for (Breakpoint* breakpoint : covered) {
      breakpoint->original = *breakpoint->host;
      *breakpoint->host = kBreakpointInstruction;
    }
  });
  return absl::OkStatus();
}

absl::Status GuestCode::AddBreakpoint(int vcpu, uint64_t address) {
  uint8_t* host = target_.HostAddress(vcpu, address, 1);
  if (host == nullptr) return NotMapped(address);
  absl::MutexLock lock(&mutex_);
  if (breakpoints_.contains(address)) return absl::OkStatus();
  // Another address may map the same byte: then it holds a breakpoint instruction of ours already.
  Breakpoint added = {host, *host};
  for (const auto& [at, breakpoint] : breakpoints_) {
    if (breakpoint.host == host) added.original = breakpoint.original;
  }
  breakpoints_[address] = added;
  *host = kBreakpointInstruction;
  return absl::OkStatus();
}

void GuestCode::TakeAway(const Breakpoint& breakpoint) {
  if (*breakpoint.host == kBreakpointInstruction) *breakpoint.host = breakpoint.original;
}

absl::Status GuestCode::RemoveBreakpoint(uint64_t address) {
  absl::MutexLock lock(&mutex_);
  auto found = breakpoints_.find(address);
  if (found == breakpoints_.end()) {
    return absl::NotFoundError(absl::StrFormat("there is no breakpoint at %#x", address));
  }
  const Breakpoint removed = found->second;
  breakpoints_.erase(found);
  for (const auto& [at, breakpoint] : breakpoints_) {
    if (breakpoint.host == removed.host) return absl::OkStatus();
  }
  TakeAway(removed);
  return absl::OkStatus();
}

void GuestCode::RemoveAllBreakpoints() {
  absl::MutexLock lock(&mutex_);
  for (const auto& [at, breakpoint] : breakpoints_) TakeAway(breakpoint);
  breakpoints_.clear();
}

bool GuestCode::HasBreakpoint(uint64_t address) const {
  absl::MutexLock lock(&mutex_);
  return breakpoints_.contains(address);
}

bool GuestCode::HasBreakpoints() const {
  absl::MutexLock lock(&mutex_);
  return !breakpoints_.empty();
}

}  // namespace watchsnap::gdb
