#include "testing/scenario/cgroup_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace watchsnap {
namespace {

constexpr int kRemoveTurns = 200;
constexpr absl::Duration kRemoveTurn = absl::Milliseconds(5);

absl::Status WriteFile(const std::string& path, std::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool well =
      fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) close(fd);
  return well ? absl::OkStatus()
              : absl::ErrnoToStatus(error, absl::StrCat("write '", text, "' to ", path));
}

// A cgroup has a controller's files only if its parent passes the controller on.
absl::Status PassOn(const std::string& root, std::string_view controller) {
  return WriteFile(root + "/cgroup.subtree_control", absl::StrCat("+", controller));
}

absl::StatusOr<std::vector<pid_t>> TasksOf(const std::string& folder) {
  const std::string path = folder + "/cgroup.procs";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(fd, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  std::vector<pid_t> tasks;
  for (std::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(line, &pid)) tasks.push_back(pid);
  }
  return tasks;
}

}  // namespace

absl::StatusOr<std::vector<int>> ParseCpuList(std::string_view cpus) {
  std::vector<int> list;
  for (std::string_view part : absl::StrSplit(cpus, ',')) {
    const std::vector<std::string_view> ends = absl::StrSplit(part, '-');
    int first = 0;
    int last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) ||
        !absl::SimpleAtoi(ends.back(), &last) || first < 0 || last < first || last >= CPU_SETSIZE) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", cpus, "' is no list of CPUs; one looks like 0-1,3"));
    }
    for (int cpu = first; cpu <= last; ++cpu) list.push_back(cpu);
  }
  return list;
}

absl::Status SetCgroupCpuSet(const std::string& cgroup, const std::string& cpus,
                             const std::string& root) {
  absl::Status status = ParseCpuList(cpus).status();
  if (status.ok()) status = PassOn(root, "cpuset");
  if (status.ok()) status = WriteFile(absl::StrCat(root, "/", cgroup, "/cpuset.cpus"), cpus);
  return status;
}

absl::Status SetCgroupWeight(const std::string& cgroup, int weight, const std::string& root) {
  absl::Status status = PassOn(root, "cpu");
  if (status.ok()) {
    status = WriteFile(absl::StrCat(root, "/", cgroup, "/cpu.weight"), absl::StrCat(weight));
  }
  return status;
}

absl::Status MoveCgroupTasks(const std::string& from, const std::string& to,
                             const std::string& root) {
  absl::StatusOr<std::vector<pid_t>> tasks = TasksOf(absl::StrCat(root, "/", from));
  if (!tasks.ok()) return tasks.status();
  if (tasks->empty()) {
    return absl::NotFoundError(absl::StrCat("the cgroup ", from, " has no tasks to move"));
  }
  for (const pid_t task : *tasks) {
    absl::Status status =
        WriteFile(absl::StrCat(root, "/", to, "/cgroup.procs"), absl::StrCat(task));
    // A short-lived one may have ended.
    if (!status.ok() && !absl::IsNotFound(status) && kill(task, 0) == 0) return status;
  }
  return absl::OkStatus();
}

absl::Status SetCgroupAffinity(const std::string& cgroup, const std::string& cpus,
                               const std::string& root) {
  absl::StatusOr<std::vector<int>> list = ParseCpuList(cpus);
  if (!list.ok()) return list.status();
  absl::StatusOr<std::vector<pid_t>> tasks = TasksOf(absl::StrCat(root, "/", cgroup));
  if (!tasks.ok()) return tasks.status();
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : *list) CPU_SET(cpu, &set);
  for (const pid_t task : *tasks) {
    if (sched_setaffinity(task, sizeof(set), &set) != 0 && errno != ESRCH) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat("let task ", task, " of cgroup ", cgroup, " run on CPUs ", cpus));
    }
  }
  return absl::OkStatus();
}

void RemoveCgroup(const std::string& folder) {
  for (int turn = 0; rmdir(folder.c_str()) != 0 && errno == EBUSY && turn < kRemoveTurns; ++turn) {
    if (turn == 0 && !WriteFile(folder + "/cgroup.kill", "1").ok()) return;
    absl::SleepFor(kRemoveTurn);
  }
}

}  // namespace watchsnap
