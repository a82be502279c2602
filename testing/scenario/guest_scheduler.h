// Schedulers of a guest: started, watched and stopped from inside.
//
//   GuestSchedulers schedulers({});
//   schedulers.Start("fifo");              // returns when the kernel says "enabled"
//   schedulers.WaitForNews(absl::Seconds(1));
//   schedulers.Check();                    // an error if the kernel threw a scheduler out
//   schedulers.Stop();
//
// A scheduler is a file the test packed: a BPF object, which bpf_loader (testing/bpf) loads, or a
// program that loads one itself and ends on SIGTERM. There is one at a time: starting another stops
// the one before.
//
// What became of a scheduler is read in the kernel's log (scheduler_log.h), so it is known of any
// scheduler, whoever started it. An end by error that was not expected is an error of Check, once.
//
// Threads: one; forks. Ownership: the loader is a child that dies with its maker; the destructor
// stops it. Errors: NOT_FOUND lists the schedulers there are; ABORTED with the loader's words or
// the kernel's reason and message; DEADLINE_EXCEEDED with the state that the kernel is in.
#ifndef WATCHSNAP_TESTING_SCENARIO_GUEST_SCHEDULER_H_
#define WATCHSNAP_TESTING_SCENARIO_GUEST_SCHEDULER_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "testing/scenario/scheduler_log.h"

namespace watchsnap {

// Where the host side packs them (guest_image.h).
inline constexpr char kGuestSchedulersFolder[] = "/schedulers";
inline constexpr char kGuestBpfLoader[] = "/bin/bpf_loader";

struct GuestSchedulerPaths {
  std::string folder = kGuestSchedulersFolder;
  std::string loader = kGuestBpfLoader;
  std::string sysfs = "/sys/kernel/sched_ext";
  std::string kernel_log = "/dev/kmsg";
};

class GuestSchedulers {
 public:
  // `expected_error`: absent: any error is one of Check. Else errors that contain it ("": all) are
  // expected, and CheckAtEnd wants at least one.
  GuestSchedulers(GuestSchedulerPaths paths, std::optional<std::string> expected_error)
      : paths_(std::move(paths)), expected_error_(std::move(expected_error)) {}
  ~GuestSchedulers();
  GuestSchedulers(const GuestSchedulers&) = delete;
  GuestSchedulers& operator=(const GuestSchedulers&) = delete;

  // `name`: of a packed file, with or without .bpf.o or .o; or a path of the guest.
  absl::Status Start(const std::string& name);
  // No-op where none is started.
  absl::Status Stop();

  absl::Status Check();
  absl::Status CheckAtEnd();
  // Returns when the kernel's log has something new, or `duration` has passed.
  void WaitForNews(absl::Duration duration);

  // "enabled", "disabled", …; "" where the kernel has no sched_ext.
  std::string State() const;
  // All that ended so far.
  const std::vector<SchedulerEnd>& Ends();

 private:
  absl::StatusOr<std::string> FindFile(const std::string& name) const;
  absl::Status AwaitEnabled(const std::string& name, size_t ends_before);
  absl::Status LoaderWords(const std::string& name, int status_fd);
  absl::Status AwaitState(const std::string& wanted, absl::Duration timeout);
  void OpenLog();
  void ReadLog();
  bool IsExpected(const SchedulerEnd& end) const;

  const GuestSchedulerPaths paths_;
  const std::optional<std::string> expected_error_;
  SchedulerLog log_;
  int log_fd_ = -1;
  size_t checked_ = 0;  // ends that Check has judged
  pid_t child_ = -1;
  std::string running_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_GUEST_SCHEDULER_H_
