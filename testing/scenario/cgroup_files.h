// A cgroup's files: cpuset, weight, the tasks in it. Control group version 2,
// Documentation/admin-guide/cgroup-v2.rst.
//
// `root`: where the cgroup2 file system is mounted. Threads: any. Errors: what was wanted of which
// cgroup, and the kernel's reason; INVALID_ARGUMENT for a list of CPUs that is none.
#ifndef WATCHSNAP_TESTING_SCENARIO_CGROUP_FILES_H_
#define WATCHSNAP_TESTING_SCENARIO_CGROUP_FILES_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace watchsnap {

inline constexpr char kCgroupRoot[] = "/sys/fs/cgroup";

// "0-1,3" as 0, 1, 3.
absl::StatusOr<std::vector<int>> ParseCpuList(std::string_view cpus);

absl::Status SetCgroupCpuSet(const std::string& cgroup, const std::string& cpus,
                             const std::string& root = kCgroupRoot);
absl::Status SetCgroupWeight(const std::string& cgroup, int weight,
                             const std::string& root = kCgroupRoot);
absl::Status MoveCgroupTasks(const std::string& from, const std::string& to,
                             const std::string& root = kCgroupRoot);
// sched_setaffinity of each task that is in it now.
absl::Status SetCgroupAffinity(const std::string& cgroup, const std::string& cpus,
                               const std::string& root = kCgroupRoot);

// Kills what is still in the cgroup and removes its folder; one that cannot go stays.
void RemoveCgroup(const std::string& folder);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_CGROUP_FILES_H_
