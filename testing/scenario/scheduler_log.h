// What the kernel's log says of sched_ext schedulers that ended: for whom, why, and was it an
// error.
//
// The kernel writes, for any scheduler, with or without a loader that reports
// (kernel/sched/ext.c, where it disables one):
//   <3> sched_ext: BPF scheduler "NAME" disabled (REASON)      <3>: an error; <6>: none
//   <3> sched_ext: NAME: MESSAGE                               where there is one
// Records come as /dev/kmsg gives them (Documentation/ABI/testing/dev-kmsg):
//   "3,1234,5678901,-;text\n KEY=value\n".
//
// Threads: one. Errors: none; a record that says nothing of a scheduler is passed over.
#ifndef WATCHSNAP_TESTING_SCENARIO_SCHEDULER_LOG_H_
#define WATCHSNAP_TESTING_SCENARIO_SCHEDULER_LOG_H_

#include <string>
#include <string_view>
#include <vector>

namespace watchsnap {

struct SchedulerEnd {
  std::string name;     // sched_ext_ops.name
  std::string reason;   // "scx_bpf_error", "unregistered from user space", …
  std::string message;  // of the scheduler or the watchdog; may be empty
  bool error = false;

  // "scheduler 'x' was disabled by the kernel: REASON: MESSAGE"
  std::string Text() const;
};

class SchedulerLog {
 public:
  void AddRecord(std::string_view record);

  const std::vector<SchedulerEnd>& ends() const { return ends_; }

 private:
  std::vector<SchedulerEnd> ends_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_SCHEDULER_LOG_H_
