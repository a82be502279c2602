// PageWatch: watches by page protection. Any number, any length, several in one page; no hardware
// watchpoint is needed. A store to a page that holds a watch costs an exit; if it was to none of the
// watches it goes on with no hit.
//
// One vCPU: the pages are read-only memslots. KVM emulates the store and exits with address and data,
// which are written here. An instruction that KVM cannot emulate is stepped natively, with the pages
// writable meanwhile; where the host cannot do that either the run ends, and says which instruction it
// was. Several vCPUs: emulated read-modify-writes would not be atomic, so the pages are protected in
// the host's mapping, KVM_RUN fails at the store, and the store is stepped natively with all other
// vCPUs frozen. Where a host answers with MMIO exits instead, Arm fails.
//
// What a hit shows. The old and the new value are exact, whatever other vCPUs do. One instruction is
// one hit of each watch it writes to; a repeated string store is one for each time it stops, at most
// an iteration. Of a watch longer than 8 bytes the values are those of the bytes stored, at most 8, at
// stored_address. A store that changes nothing (a cmpxchg that fails) is a hit with old = new. On
// several vCPUs the writer's own address is known; on one, the next address, as with hw_watch.
//
// Limits.
// - Pages are found through the guest's page tables at Arm. Any mapping of the same physical page is
//   watched. Memory that the guest maps elsewhere later is not followed: Summary tells of it.
// - Writes by the VMM (virtio) and by KVM (kvmclock, steal time) do not trip; KVM's own fail quietly on
//   one vCPU, as on a read-only page.
// - Not for page tables and not for the stacks that exceptions and interrupts are delivered to: the
//   processor's own writes there are stepped natively where the host can, and a step that delivers an
//   interrupt lasts until its handler returns, with all other vCPUs frozen.
// - A store whose extent cannot be told before it happens (xsave, scatters) hits a watch of up to 8
//   bytes if its value changes, and each longer one with unknown values.
// - Two user watches never overlap (Arm refuses it).
//
// Threads: as DebugDevice says; hits are made under one short lock. Pages change only under a freeze.
// Ownership: borrows the DebugTarget, which must outlive it.
// Errors: InvalidArgument (length, wraps), AlreadyExists (overlap), NotFound (not mapped to RAM),
// FailedPrecondition (the host cannot do it for so many vCPUs), else what the host answered. A failed
// Arm leaves no page protected for it.
#ifndef WATCHSNAP_DEBUG_PAGE_WATCH_PAGE_WATCH_H_
#define WATCHSNAP_DEBUG_PAGE_WATCH_PAGE_WATCH_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "debug/debug_device.h"
#include "debug/page_watch/watch_table.h"

namespace watchsnap {

enum class PageWay {
  kReadOnlyMemslots,
  kHostProtection,
};
constexpr PageWay PageWayFor(int vcpus) {
  return vcpus > 1 ? PageWay::kHostProtection : PageWay::kReadOnlyMemslots;
}

class PageWatch : public DebugDevice {
 public:
  // `host_works` is asked at the first Arm: OK where this host is known to do it that way.
  using HostWorks = std::function<absl::Status(PageWay)>;
  PageWatch(DebugTarget& target, PageWay way, HostWorks host_works);

  std::string_view Name() const override { return "page_watch"; }
  DebugCapabilities Capabilities() const override;
  absl::Status TryHost(int vcpus) override { return host_works_(PageWayFor(vcpus)); }
  absl::StatusOr<WatchId> Arm(const WatchSpec& spec) override;
  absl::Status Disarm(WatchId watch) override;
  absl::Status Retarget(WatchId watch, uint64_t address, uint32_t length) override;
  void OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) override;
  MmioAnswer OnMmio(int vcpu, uint64_t gpa, absl::Span<uint8_t> data, bool is_write) override;
  void OnMmioComplete(int vcpu, WatchHits& hits) override;
  bool OnMemoryFault(int vcpu, WatchHits& hits) override;
  bool OnInternalError(int vcpu, WatchHits& hits, std::string& explanation) override;
  void MoreHits(int vcpu, WatchHits& hits) override;
  std::vector<std::string> Summary() override;

  // Stores to pages with watches: that KVM emulated, that were stepped natively.
  uint64_t emulated_stores() const { return emulated_.load(); }
  uint64_t stepped_stores() const { return stepped_.load(); }

 private:
  absl::StatusOr<std::vector<WatchTable::Piece>> FindPieces(const WatchSpec& spec);
  // Frozen: protects exactly `wanted`.
  absl::Status Protect(const std::vector<uint64_t>& wanted);
  absl::Status SetProtection(absl::Span<const uint64_t> pages, bool on);
  absl::Status Replace(WatchId watch, const WatchSpec& spec) ABSL_LOCKS_EXCLUDED(mutex_);

  // Frozen, on the thread of `vcpu`: its next instruction, with the pages it stores to writable.
  absl::Status StepOver(int vcpu) ABSL_LOCKS_EXCLUDED(mutex_);
  // Notes the stores of the instruction at pc, and which protected pages it writes to.
  struct Expectation;
  void Expect(int vcpu, Expectation& expectation) ABSL_LOCKS_EXCLUDED(mutex_);
  struct LastStore {
    uint64_t gpa = 0;
    uint32_t bytes = 0;
  };
  // Of the repeated string store at pc if it made `store`; else 0.
  uint8_t LengthOfRepeatedStoreAt(int vcpu, const LastStore& store);
  size_t ReadText(int vcpu, uint64_t pc, absl::Span<uint8_t> text);
  std::string InstructionAt(int vcpu, uint64_t pc);
  std::string MovedElsewhere(const WatchTable::Watch& watch);

  DebugTarget& target_;
  const PageWay way_;
  const HostWorks host_works_;

  absl::Mutex arm_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  bool known_to_work_ ABSL_GUARDED_BY(arm_mutex_) = false;
  WatchId next_watch_ ABSL_GUARDED_BY(arm_mutex_) = 1;

  // Held for memory accesses only, never across a call that may wait.
  absl::Mutex mutex_;
  WatchTable table_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> moved_ ABSL_GUARDED_BY(mutex_);  // lines for Summary
  // Sorted. Changed and read under a freeze only.
  std::vector<uint64_t> protected_;
  // Of each vCPU, on its own thread: faults in a row while nothing was protected.
  std::vector<int> faults_of_nobody_;
  std::vector<LastStore> last_store_;  // by MMIO; likewise

  std::atomic<uint64_t> emulated_{0};
  std::atomic<uint64_t> stepped_{0};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_PAGE_WATCH_PAGE_WATCH_H_
