#include "testing/scenario/run_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace watchsnap {
namespace {

// Waits on a process descriptor (Linux 5.3), so that nothing is polled.
bool WaitReadable(int fd, absl::Time deadline) {
  while (true) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    const int64_t ms = std::min<int64_t>(
        absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))), 1 << 30);
    pollfd waiting = {.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, static_cast<int>(ms)) > 0) return true;
  }
}

}  // namespace

std::string DescribeWaitStatus(int wait_status) {
  if (WIFEXITED(wait_status)) return absl::StrCat("exited with ", WEXITSTATUS(wait_status));
  const int signal = WTERMSIG(wait_status);
  return absl::StrCat("killed by signal ", signal, " (", strsignal(signal), ")");
}

absl::StatusOr<int> WaitForChild(pid_t child, absl::Time deadline) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  if (fd < 0) return absl::ErrnoToStatus(errno, "pidfd_open");
  const bool ended = WaitReadable(fd, deadline);
  close(fd);
  if (!ended) kill(child, SIGKILL);
  int wait_status = 0;
  while (waitpid(child, &wait_status, 0) < 0) {
    if (errno != EINTR) return absl::ErrnoToStatus(errno, "waitpid");
  }
  if (!ended) return absl::DeadlineExceededError("it did not end in time and was killed");
  return wait_status;
}

absl::Status RunCommand(const std::vector<std::string>& argv, absl::Duration timeout) {
  if (argv.empty()) return absl::InvalidArgumentError("Op::Run needs a program");
  const absl::Time deadline = absl::Now() + timeout;
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "make a pipe");
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    execvp(arguments[0], arguments.data());
    const int error = errno;
    if (write(pipe_fds[1], &error, sizeof(error)) < 0) _exit(126);
    _exit(127);
  }
  const int fork_error = errno;
  close(pipe_fds[1]);
  if (child < 0) {
    close(pipe_fds[0]);
    return absl::ErrnoToStatus(fork_error, "fork");
  }
  int exec_error = 0;
  const ssize_t got = read(pipe_fds[0], &exec_error, sizeof(exec_error));  // ends at exec
  close(pipe_fds[0]);
  absl::StatusOr<int> wait_status = WaitForChild(child, deadline);
  if (got == sizeof(exec_error))
    return absl::ErrnoToStatus(exec_error, absl::StrCat("cannot run ", argv[0]));
  if (!wait_status.ok()) {
    return absl::Status(wait_status.status().code(),
                        absl::StrCat(argv[0], ": ", wait_status.status().message(), " (timeout ",
                                     absl::FormatDuration(timeout), ")"));
  }
  if (*wait_status != 0)
    return absl::AbortedError(absl::StrCat(argv[0], " ", DescribeWaitStatus(*wait_status)));
  return absl::OkStatus();
}

}  // namespace watchsnap
