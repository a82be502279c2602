// PauseBarrier: stops every vCPU of a machine at a safe point, and lets them go again.
//
//   absl::StatusOr<FrozenVcpus> frozen = barrier.Freeze(absl::Seconds(1));   // any other thread
//   if (!frozen.ok()) return frozen.status();      // names the vCPUs that did not park; all thawed
//   ... read registers and memory: nothing in the guest moves ...
//   // ~FrozenVcpus thaws
//
// Who leads: a vCPU that hits a watch freezes the others itself (TryLead) and is frozen by not running
// the guest; any other thread uses Freeze. One freeze at a time: a vCPU that wants to lead while
// another freeze is under way parks instead (and may try again when it is thawed).
//
// Protocol. `epoch_` is even while the guest runs and odd during a freeze; one compare-and-swap from
// even to odd both takes the leadership and publishes the request. A participant announces `kInGuest`
// *before* it looks at `epoch_` a last time, and the leader publishes `epoch_` *before* it looks at
// the announcements (both sequentially consistent: Dekker's pattern), so that either the participant
// sees the request or the leader sees that it must be kicked. A parked participant counts itself in
// `parked_`, which carries the low half of the epoch so that a straggler of an earlier freeze that
// timed out is never counted in a later one.
//
// Waiting. The leader for the others to park, and the parked for the thaw, look for about as long as it took
// lately (at most kMostLookingNs) before they sleep in a futex: on a machine with a CPU for each participant that
// saves the way into the kernel and the wake-up, which take longer than the freeze itself. Where another thread
// leads, or there are fewer CPUs than participants, they sleep at once, to leave the CPU to those they wait for. So does
// the parked that had to wake the leader, which may need this very CPU.
//
// Holds. A debugger that has stopped the machine is no freeze: it may last for hours, and captures are
// still taken meanwhile. It *holds* participants: a held one does not enter the guest (EnterGuest says
// no, AwaitTurn sleeps) but parks for freezes and runs tasks like any other. To know that held
// participants are outside the guest, and to have their state, take a freeze and let it go.
//
// Memory ordering: what a participant wrote before it parked is visible to the leader after
// Freeze/TryLead returns; what the leader wrote is visible to the participants after the thaw.
//
// Threads: Freeze from any thread that is not a participant; TryLead, EnterGuest, LeaveGuest, Park only
// on the participant's own thread, as AwaitTurn; RunOn, Hold and Release from any thread.
// Units: durations. Errors: DeadlineExceeded.
#ifndef WATCHSNAP_VMM_PAUSE_BARRIER_H_
#define WATCHSNAP_VMM_PAUSE_BARRIER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace watchsnap {

class PauseBarrier;

// What the barrier stops: a vCPU thread. (Tests use plain threads.)
class PauseParticipant {
 public:
  virtual ~PauseParticipant() = default;
  // Called on the leader's thread when this participant may be inside the guest: make it come out
  // soon. Must not block.
  virtual void Kick() = 0;
  // Called on the participant's own thread as it parks: bring the state to a consistent point (finish
  // a pending device access) and save it. Runs in parallel on all participants.
  virtual void SaveState() = 0;
  // Called on the participant's own thread once it has parked: what the leader need not wait for.
  virtual void AfterParking() {}
};

// Told of each freeze before it ends: what hides the pause from the guest's clocks.
class PauseListener {
 public:
  virtual ~PauseListener() = default;
  // All participants are stopped and about to be let go, on the thread that does so. Returns how many
  // nanoseconds of the pause the guest will not see.
  virtual uint64_t BeforeThaw() = 0;
};

// All vCPUs are stopped for as long as this lives; the destructor thaws them.
class FrozenVcpus {
 public:
  FrozenVcpus(FrozenVcpus&& other) noexcept : barrier_(other.barrier_) { other.barrier_ = nullptr; }
  FrozenVcpus& operator=(FrozenVcpus&& other) noexcept;
  FrozenVcpus(const FrozenVcpus&) = delete;
  FrozenVcpus& operator=(const FrozenVcpus&) = delete;
  ~FrozenVcpus() { Thaw(); }
  // Returns how many nanoseconds of the pause the guest does not see.
  uint64_t Thaw();

 private:
  friend class PauseBarrier;
  explicit FrozenVcpus(PauseBarrier* barrier) : barrier_(barrier) {}
  PauseBarrier* barrier_;
};

class PauseBarrier {
 public:
  // `participants` stay the caller's; their index is their position. The barrier is born frozen: every
  // participant parks when it first arrives, and InitialFreeze hands out the guard that lets them go.
  explicit PauseBarrier(std::vector<PauseParticipant*> participants);
  absl::StatusOr<FrozenVcpus> InitialFreeze(absl::Duration deadline);
  // Before the participants arrive; the listener outlives them.
  void SetListener(PauseListener* listener) { listener_ = listener; }

  // Stops all participants. Waits its turn behind another freeze, within the same deadline.
  absl::StatusOr<FrozenVcpus> Freeze(absl::Duration deadline);

  // On participant `index`'s thread, outside the guest: becomes the leader and stops all others, or
  // returns Unavailable at once if another freeze is under way (then call Park). The leader's own
  // SaveState is called first.
  absl::StatusOr<FrozenVcpus> TryLead(int index, absl::Duration deadline);

  // The participant's loop: EnterGuest announces that it is about to run the guest and returns true,
  // or returns false if it must not (a freeze or a task waits: call Park, then try again).
  bool EnterGuest(int index);
  void LeaveGuest(int index);
  // Runs queued tasks and, while a freeze is under way, saves the state and stays until the thaw
  // (running tasks meanwhile).
  void Park(int index);
  // What a participant does that EnterGuest refused: Park, then, if it is held, sleep until something
  // changes (also a task that has run). May return early: ask EnterGuest again.
  void AwaitTurn(int index);
  // From now on the participant stays out of the guest. Does not wait for it to come out; idempotent.
  void Hold(int index);
  void Release(int index);
  // The participant's thread ends: it counts as parked from now on.
  void Retire(int index);

  // Runs `task` on the participant's own thread, at a safe point, frozen or not, and waits for it.
  // From that thread itself it runs at once. A retired participant: FailedPrecondition.
  absl::Status RunOn(int index, std::function<absl::Status()> task);

  int size() const { return static_cast<int>(slots_.size()); }
  // No participant that waits looks for longer than this before it sleeps.
  static constexpr int64_t kMostLookingNs = 1'000'000;
  // How often participants were stopped, for tests and benchmarks.
  uint64_t freezes() const { return freezes_.load(std::memory_order_relaxed); }

 private:
  friend class FrozenVcpus;
  enum State : uint32_t { kOutside = 0, kInGuest = 1, kRetired = 2 };
  struct Task {
    std::function<absl::Status()> run;
    absl::Status result;
    std::atomic<uint32_t> done{0};
  };
  struct alignas(64) Slot {
    PauseParticipant* participant = nullptr;
    std::atomic<uint32_t> state{kOutside};
    std::atomic<uint32_t> parked_epoch{0};
    std::atomic<bool> has_tasks{false};
    std::atomic<bool> held{false};
    std::atomic<uint64_t> thread{0};  // gettid of the owner, 0 until known
    absl::Mutex mutex;
    std::deque<Task*> tasks ABSL_GUARDED_BY(mutex);
  };

  absl::StatusOr<FrozenVcpus> StopOthers(uint32_t epoch, int leader, absl::Duration deadline);
  // Wakes the leader if it sleeps and this was the last one it waits for; says whether it did.
  bool CountParked(int index, uint32_t epoch);
  void WakeSleepers();
  // Sleeps while `wake_` is `seen`.
  void SleepUntilWoken(uint32_t seen);
  void RunTasks(Slot& slot);
  void Thaw();

  // How long waits of one kind took lately.
  class Patience {
   public:
    // Looks until `done` or its time is up. Any thread.
    template <typename Done>
    void LookFor(Done done);

   private:
    std::atomic<uint64_t> usual_ns_{20'000};
  };

  std::vector<Slot> slots_;
  bool a_cpu_each_ = false;  // no more participants than CPUs
  // Whether whoever leads, or led last, is one of the participants.
  std::atomic<bool> participant_leads_{false};
  Patience for_parking_, for_thaw_;
  PauseListener* listener_ = nullptr;
  std::atomic<uint32_t> epoch_{1};
  // High half: low half of the epoch it counts for; low half: how many have parked.
  std::atomic<uint32_t> parked_{0};
  std::atomic<bool> leader_sleeps_{false};  // on parked_, or is about to
  // Changes at every thaw and every task: what parked participants sleep on.
  std::atomic<uint32_t> wake_{0};
  // How many of them sleep or are about to: a thaw that wakes nobody makes no system call. A sleeper counts
  // itself before the kernel compares `wake_`, a waker changes `wake_` before it looks here.
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<uint32_t> waiting_leaders_{0};
  std::atomic<uint32_t> held_{0};  // how many are held, raised before the first of them sleeps
  std::atomic<uint32_t> expected_{0};
  std::atomic<uint64_t> freezes_{0};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_PAUSE_BARRIER_H_
