#include "testing/scenario/guest_scheduler.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "testing/scenario/run_command.h"

namespace watchsnap {
namespace {

// Loading verifies the programs: a second in an emulated host, more in a busy one.
constexpr absl::Duration kStartTimeout = absl::Seconds(60);
constexpr absl::Duration kStopTimeout = absl::Seconds(20);
// The kernel writes its log to the console before it goes on, which takes a quarter of a second
// where that is emulated.
constexpr absl::Duration kMessageTimeout = absl::Seconds(3);
constexpr absl::Duration kTurn = absl::Milliseconds(20);
constexpr size_t kLongestRecord = 8192;  // Documentation/ABI/testing/dev-kmsg

std::string ReadShortFile(const std::string& path) {
  char text[256];
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  const ssize_t got = read(fd, text, sizeof(text));
  close(fd);
  return got <= 0 ? "" : std::string(absl::StripAsciiWhitespace({text, static_cast<size_t>(got)}));
}

bool IsBpfObject(const std::string& path) {
  Elf64_Ehdr header = {};
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t got = read(fd, &header, sizeof(header));
  close(fd);
  return got == sizeof(header) && memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
         header.e_machine == EM_BPF;
}

std::vector<std::string> FilesOf(const std::string& folder) {
  std::vector<std::string> names;
  if (DIR* files = opendir(folder.c_str()); files != nullptr) {
    while (const dirent* file = readdir(files)) {
      if (file->d_name[0] != '.') names.emplace_back(file->d_name);
    }
    closedir(files);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

GuestSchedulers::~GuestSchedulers() {
  if (absl::Status status = Stop(); !status.ok()) {
    fprintf(stderr, "watchsnap: %s\n", std::string(status.message()).c_str());
  }
  if (log_fd_ >= 0) close(log_fd_);
}

absl::StatusOr<std::string> GuestSchedulers::FindFile(const std::string& name) const {
  if (absl::StrContains(name, '/')) {
    if (access(name.c_str(), R_OK) == 0) return name;
    return absl::ErrnoToStatus(errno, absl::StrCat("the scheduler ", name));
  }
  const std::vector<std::string> files = FilesOf(paths_.folder);
  for (const char* ending : {"", ".bpf.o", ".o"}) {
    if (std::find(files.begin(), files.end(), name + ending) != files.end()) {
      return absl::StrCat(paths_.folder, "/", name, ending);
    }
  }
  return absl::NotFoundError(absl::StrCat(
      "no scheduler '", name, "' in the guest; ",
      files.empty() ? "it has none: give watch_scenario_test scheduler = or schedulers ="
                    : absl::StrCat("it has: ", absl::StrJoin(files, ", "))));
}

std::string GuestSchedulers::State() const { return ReadShortFile(paths_.sysfs + "/state"); }

absl::Status GuestSchedulers::Start(const std::string& name) {
  absl::StatusOr<std::string> file = FindFile(name);
  if (!file.ok()) return file.status();
  if (State().empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "scheduler ", name, ": this kernel has no sched_ext (no ", paths_.sysfs, "/state)"));
  }
  if (absl::Status stopped = Stop(); !stopped.ok()) return stopped;
  OpenLog();
  ReadLog();
  const size_t ends_before = log_.ends().size();
  const bool object = IsBpfObject(*file);
  if (object && access(paths_.loader.c_str(), X_OK) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("scheduler ", name, " is a BPF object, and the guest has no ", paths_.loader,
                     " to load it: name it in scheduler = or schedulers = of watch_scenario_test"));
  }
  int status_pipe[2];
  if (pipe2(status_pipe, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "make a pipe");
  fflush(nullptr);
  const pid_t maker = getpid();
  child_ = fork();
  if (child_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != maker) _exit(127);
    const int status_fd = fcntl(status_pipe[1], F_DUPFD, STDERR_FILENO + 1);
    const std::string option = absl::StrCat("--status-fd=", status_fd);
    if (object) {
      execl(paths_.loader.c_str(), "bpf_loader", option.c_str(), file->c_str(), nullptr);
    } else {
      close(status_fd);
      execl(file->c_str(), file->c_str(), nullptr);
    }
    fprintf(stderr, "watchsnap: cannot run %s: %s\n",
            object ? paths_.loader.c_str() : file->c_str(), strerror(errno));
    _exit(127);
  }
  close(status_pipe[1]);
  absl::Status status;
  if (child_ < 0) {
    status = absl::ErrnoToStatus(errno, "fork");
  } else {
    running_ = name;
    if (object) status = LoaderWords(name, status_pipe[0]);
  }
  close(status_pipe[0]);
  if (status.ok()) status = AwaitEnabled(name, ends_before);
  if (!status.ok()) {
    if (absl::Status stopped = Stop(); !stopped.ok()) {
      fprintf(stderr, "watchsnap: %s\n", std::string(stopped.message()).c_str());
    }
  }
  return status;
}

absl::Status GuestSchedulers::LoaderWords(const std::string& name, int status_fd) {
  std::string words;
  const absl::Time deadline = absl::Now() + kStartTimeout;
  while (true) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    pollfd waiting = {.fd = status_fd, .events = POLLIN, .revents = 0};
    if (left <= 0 || poll(&waiting, 1, static_cast<int>(left)) == 0) {
      return absl::DeadlineExceededError(absl::StrCat("scheduler ", name,
                                                      ": bpf_loader said nothing within ",
                                                      absl::FormatDuration(kStartTimeout)));
    }
    char buffer[1024];
    const ssize_t got = read(status_fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    words.append(buffer, static_cast<size_t>(got));
  }
  std::string_view said = absl::StripAsciiWhitespace(words);
  if (absl::StartsWith(said, "attached ")) return absl::OkStatus();
  if (absl::ConsumePrefix(&said, "failed ")) {
    return absl::AbortedError(
        absl::StrCat("scheduler ", name, ": ", said, " (more on the guest's console)"));
  }
  return absl::AbortedError(absl::StrCat("scheduler ", name, ": bpf_loader died without a word"));
}

absl::Status GuestSchedulers::AwaitEnabled(const std::string& name, size_t ends_before) {
  for (const absl::Time deadline = absl::Now() + kStartTimeout;;) {
    if (State() == "enabled") return absl::OkStatus();
    // Enabled, and gone again before we looked: Check judges that.
    ReadLog();
    if (log_.ends().size() > ends_before) return Check();
    int wait_status = 0;
    if (waitpid(child_, &wait_status, WNOHANG) == child_) {
      child_ = -1;
      return absl::AbortedError(absl::StrCat("scheduler ", name, ": its loader ",
                                             DescribeWaitStatus(wait_status),
                                             " before the kernel had enabled it"));
    }
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("scheduler ", name, " was not enabled within ",
                       absl::FormatDuration(kStartTimeout), "; sched_ext is ", State()));
    }
    WaitForNews(kTurn);
  }
}

absl::Status GuestSchedulers::AwaitState(const std::string& wanted, absl::Duration timeout) {
  for (const absl::Time deadline = absl::Now() + timeout; State() != wanted;) {
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat("sched_ext is ", State(), ", not ", wanted,
                                                      ", after ", absl::FormatDuration(timeout)));
    }
    absl::SleepFor(kTurn);
  }
  return absl::OkStatus();
}

absl::Status GuestSchedulers::Stop() {
  if (child_ < 0) return absl::OkStatus();
  kill(child_, SIGTERM);
  absl::StatusOr<int> end = WaitForChild(child_, absl::Now() + kStopTimeout);
  child_ = -1;
  absl::Status status = AwaitState("disabled", kStopTimeout);
  ReadLog();
  if (!end.ok()) {
    return absl::Status(end.status().code(), absl::StrCat("the loader of scheduler ", running_,
                                                          ": ", end.status().message()));
  }
  return status;
}

void GuestSchedulers::OpenLog() {
  if (log_fd_ >= 0) return;
  log_fd_ = open(paths_.kernel_log.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

// One read is one record. EPIPE: records were overwritten before we came; the next read goes on
// behind them.
void GuestSchedulers::ReadLog() {
  char record[kLongestRecord];
  while (log_fd_ >= 0) {
    const ssize_t got = read(log_fd_, record, sizeof(record));
    if (got < 0 && (errno == EPIPE || errno == EINTR)) continue;
    if (got <= 0) return;
    log_.AddRecord({record, static_cast<size_t>(got)});
  }
}

void GuestSchedulers::WaitForNews(absl::Duration duration) {
  const int64_t ms = std::min<int64_t>(
      absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1))), 60'000);
  if (ms <= 0) return;
  pollfd waiting = {.fd = log_fd_, .events = POLLIN, .revents = 0};
  poll(&waiting, 1, static_cast<int>(ms));  // a negative descriptor is only a sleep
}

const std::vector<SchedulerEnd>& GuestSchedulers::Ends() {
  ReadLog();
  return log_.ends();
}

bool GuestSchedulers::IsExpected(const SchedulerEnd& end) const {
  return expected_error_.has_value() && absl::StrContains(end.Text(), *expected_error_);
}

absl::Status GuestSchedulers::Check() {
  OpenLog();
  ReadLog();
  while (checked_ < log_.ends().size()) {
    const size_t index = checked_++;
    if (!log_.ends()[index].error) continue;
    // Its message is a record of its own, a little later.
    for (const absl::Time deadline = absl::Now() + kMessageTimeout;
         log_.ends()[index].message.empty() && absl::Now() < deadline;) {
      WaitForNews(kTurn);
      ReadLog();
    }
    if (!IsExpected(log_.ends()[index])) return absl::AbortedError(log_.ends()[index].Text());
  }
  return absl::OkStatus();
}

absl::Status GuestSchedulers::CheckAtEnd() {
  absl::Status stopped = Stop();
  if (absl::Status status = Check(); !status.ok()) return status;
  if (!stopped.ok() || !expected_error_.has_value()) return stopped;
  std::vector<std::string> ends;
  for (const SchedulerEnd& end : log_.ends()) {
    if (end.error && IsExpected(end)) return absl::OkStatus();
    ends.push_back(end.Text());
  }
  return absl::AbortedError(
      absl::StrCat("a scheduler error ",
                   expected_error_->empty() ? "" : absl::StrCat("with '", *expected_error_, "' "),
                   "was expected (expect_scheduler_error) and did not come",
                   ends.empty() ? "" : absl::StrCat("; instead: ", absl::StrJoin(ends, "; "))));
}

}  // namespace watchsnap
