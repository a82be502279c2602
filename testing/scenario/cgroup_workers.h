// Processes that spin in a cgroup: the load a scenario asks for with CgroupDef.
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
  const std::vector<pid_t>& pids() const { return pids_; }

 private:
  CgroupWorkers(std::string name, std::string folder);
  absl::Status AddWorker();

  const std::string name_;
  const std::string folder_;
  std::vector<pid_t> pids_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_CGROUP_WORKERS_H_
