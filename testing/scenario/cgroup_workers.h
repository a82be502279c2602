// Processes that work in a cgroup: the load a scenario asks for with CgroupDef.
//
// Threads: the caller forks; it should be single-threaded. Ownership: the destructor kills the
// workers, waits for them and removes the cgroup. Workers die with their maker. Errors: a Status
// that names the cgroup and what could not be done to it.
#ifndef WATCHSNAP_TESTING_SCENARIO_CGROUP_WORKERS_H_
#define WATCHSNAP_TESTING_SCENARIO_CGROUP_WORKERS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "testing/scenario/step_backend.h"
#include "testing/scenario/worker_loop.h"

namespace watchsnap {

class CgroupWorkers : public RunningCgroup {
 public:
  // `root`: where the cgroup2 file system is mounted. Returns when every worker runs in its cgroup.
  static absl::StatusOr<std::unique_ptr<CgroupWorkers>> Start(
      const CgroupDef& cgroup, const std::string& root = "/sys/fs/cgroup");
  ~CgroupWorkers() override;
  CgroupWorkers(const CgroupWorkers&) = delete;
  CgroupWorkers& operator=(const CgroupWorkers&) = delete;

  absl::Status Check() override;
  std::vector<WorkerReport> Reports() const override;
  const std::vector<pid_t>& pids() const { return pids_; }

 private:
  CgroupWorkers(const CgroupDef& cgroup, std::string folder);
  absl::Status MakeRecords();
  absl::Status AddWorker(int index);

  const CgroupDef cgroup_;
  const std::string folder_;
  std::vector<pid_t> pids_;
  // One for each worker, shared with it.
  WorkerRecord* records_ = nullptr;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_CGROUP_WORKERS_H_
