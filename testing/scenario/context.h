// What a scenario function is given: who it is, how long a full hold is, and how to reach the host.
//
// Threads: one. Ownership: the channel is the guest runtime's and outlives the scenario. On the
// host (unit tests of the executor) a context without a channel does; a bridge that is active on
// the thread takes the ops then.
#ifndef WATCHSNAP_TESTING_SCENARIO_CONTEXT_H_
#define WATCHSNAP_TESTING_SCENARIO_CONTEXT_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "snapshot/wire/control_client.h"
#include "snapshot/wire/messages.h"
#include "testing/scenario/step.h"

namespace watchsnap {

class GuestSchedulers;

class ScenarioContext {
 public:
  explicit ScenarioContext(std::string name, absl::Duration full_hold = absl::ZeroDuration())
      : name_(std::move(name)), full_hold_(full_hold) {}

  const std::string& name() const { return name_; }
  // What HoldSpec::Full() means.
  absl::Duration full_hold() const { return full_hold_; }

  // What the host said in HELLO_REPLY.
  const std::map<std::string, std::string>& parameters() const { return parameters_; }
  void set_parameters(std::map<std::string, std::string> parameters) {
    parameters_ = std::move(parameters);
  }

  // The channel to the host: nullptr and -1 where there is none. The descriptor is the client's
  // own, non-blocking; what a scenario writes to it itself is between two requests of the client.
  ControlClient* channel() const { return channel_; }
  int channel_fd() const { return channel_fd_; }
  void set_channel(ControlClient* channel, int fd) {
    channel_ = channel;
    channel_fd_ = fd;
  }

  // The guest's schedulers: nullptr where there is no guest. They outlive the scenario.
  GuestSchedulers* schedulers() const { return schedulers_; }
  void set_schedulers(GuestSchedulers* schedulers) { schedulers_ = schedulers; }

  // With a bridge active on this thread, cgroups, commands and schedulers are not created but
  // written down here.
  // What workers did that have ended; goes to the host with the scenario's result.
  const std::vector<WorkerReport>& worker_reports() const { return worker_reports_; }
  void AddWorkerReports(std::vector<WorkerReport> reports) {
    for (WorkerReport& report : reports) worker_reports_.push_back(std::move(report));
  }

  const std::vector<CgroupDef>& recorded_cgroups() const { return recorded_cgroups_; }
  const std::vector<std::vector<std::string>>& recorded_commands() const {
    return recorded_commands_;
  }
  // As in the source: Op::StartScheduler("fifo").
  const std::vector<std::string>& recorded_ops() const { return recorded_ops_; }
  void RecordOp(std::string description) { recorded_ops_.push_back(std::move(description)); }
  void RecordCgroup(CgroupDef cgroup) { recorded_cgroups_.push_back(std::move(cgroup)); }
  void RecordCommand(std::vector<std::string> argv) {
    recorded_commands_.push_back(std::move(argv));
  }

 private:
  const std::string name_;
  const absl::Duration full_hold_;
  std::map<std::string, std::string> parameters_;
  ControlClient* channel_ = nullptr;
  int channel_fd_ = -1;
  GuestSchedulers* schedulers_ = nullptr;
  std::vector<std::string> recorded_ops_;
  std::vector<WorkerReport> worker_reports_;
  std::vector<CgroupDef> recorded_cgroups_;
  std::vector<std::vector<std::string>> recorded_commands_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_CONTEXT_H_
