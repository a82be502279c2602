#include "testing/scenario/cgroup_workers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "testing/scenario/cgroup_files.h"

namespace watchsnap {
namespace {

constexpr int kStartTimeoutMs = 10'000;

// In the worker: joins the cgroup, reports errno (0: well) over `report`, and works. Only
// async-signal-safe calls.
[[noreturn]] void WorkerMain(const char* procs_file, int report, pid_t maker, WorkType work,
                             WorkerRecord& record) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != maker) _exit(1);
  prctl(PR_SET_NAME, "worker");
  int error = 0;
  const int procs = open(procs_file, O_WRONLY | O_CLOEXEC);
  if (procs < 0 || write(procs, "0", 1) != 1) error = errno;
  if (write(report, &error, sizeof(error)) != sizeof(error) || error != 0) _exit(1);
  // The control channel must not stay open because of a worker.
  close_range(STDERR_FILENO + 1, ~0u, 0);
  RunWorker(work, record);
}

// What the worker reported, or why nothing came.
absl::Status AwaitReport(int fd) {
  pollfd waiting = {.fd = fd, .events = POLLIN, .revents = 0};
  if (poll(&waiting, 1, kStartTimeoutMs) <= 0)
    return absl::DeadlineExceededError("it did not start in time");
  int error = 0;
  if (read(fd, &error, sizeof(error)) != sizeof(error))
    return absl::InternalError("it died at once");
  return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, "it could not join its cgroup");
}

}  // namespace

CgroupWorkers::CgroupWorkers(const CgroupDef& cgroup, std::string folder)
    : cgroup_(cgroup), folder_(std::move(folder)) {}

absl::StatusOr<std::unique_ptr<CgroupWorkers>> CgroupWorkers::Start(const CgroupDef& cgroup,
                                                                    const std::string& root) {
  const std::string folder = absl::StrCat(root, "/", cgroup.name());
  if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("make the cgroup ", folder, " (is cgroup2 mounted on ", root, "?)"));
  }
  std::unique_ptr<CgroupWorkers> workers(new CgroupWorkers(cgroup, folder));
  absl::Status limits = workers->MakeRecords();
  if (cgroup.cpu_set().has_value()) {
    limits.Update(SetCgroupCpuSet(cgroup.name(), *cgroup.cpu_set(), root));
  }
  if (cgroup.weight().has_value()) {
    limits.Update(SetCgroupWeight(cgroup.name(), *cgroup.weight(), root));
  }
  if (!limits.ok()) return limits;
  for (int i = 0; i < cgroup.workers(); ++i) {
    if (absl::Status status = workers->AddWorker(i); !status.ok()) {
      return absl::Status(
          status.code(), absl::StrCat("worker ", i, " of cgroup ", folder, ": ", status.message()));
    }
  }
  return workers;
}

absl::Status CgroupWorkers::MakeRecords() {
  if (cgroup_.workers() == 0) return absl::OkStatus();
  const size_t bytes = static_cast<size_t>(cgroup_.workers()) * sizeof(WorkerRecord);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "map the workers' records");
  records_ = static_cast<WorkerRecord*>(memory);
  for (int i = 0; i < cgroup_.workers(); ++i) new (&records_[i]) WorkerRecord;
  return absl::OkStatus();
}

std::vector<WorkerReport> CgroupWorkers::Reports() const {
  std::vector<WorkerReport> reports;
  for (int i = 0; records_ != nullptr && i < cgroup_.workers(); ++i) {
    const WorkerRecord& record = records_[i];
    reports.push_back({.cgroup = cgroup_.name(),
                       .work = std::string(WorkTypeName(cgroup_.work())),
                       .index = static_cast<uint32_t>(i),
                       .iterations = record.iterations,
                       .wakeups = record.wakeups,
                       .latency_sum_ns = record.latency_sum_ns,
                       .latency_max_ns = record.latency_max_ns,
                       .migrations = record.migrations,
                       .longest_gap_ns = record.longest_gap_ns});
  }
  return reports;
}

absl::Status CgroupWorkers::AddWorker(int index) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "make a pipe");
  const std::string procs = folder_ + "/cgroup.procs";
  const pid_t maker = getpid();
  const pid_t pid = fork();
  if (pid == 0) WorkerMain(procs.c_str(), pipe_fds[1], maker, cgroup_.work(), records_[index]);
  const int fork_error = errno;
  close(pipe_fds[1]);
  absl::Status status = absl::OkStatus();
  if (pid < 0) {
    status = absl::ErrnoToStatus(fork_error, "fork");
  } else {
    pids_.push_back(pid);
    status = AwaitReport(pipe_fds[0]);
  }
  close(pipe_fds[0]);
  return status;
}

absl::Status CgroupWorkers::Check() {
  for (const pid_t pid : pids_) {
    siginfo_t info = {};
    if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == 0)
      continue;
    return absl::AbortedError(absl::StrCat(
        "worker ", pid, " of cgroup ", cgroup_.name(), " is gone: ",
        info.si_code == CLD_EXITED ? "exited with " : "killed by signal ", info.si_status));
  }
  return absl::OkStatus();
}

CgroupWorkers::~CgroupWorkers() {
  for (const pid_t pid : pids_) kill(pid, SIGKILL);
  for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
  if (records_ != nullptr) {
    munmap(records_, static_cast<size_t>(cgroup_.workers()) * sizeof(WorkerRecord));
  }
  RemoveCgroup(folder_);
}

}  // namespace watchsnap
