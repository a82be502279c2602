#include "testing/benchmarks/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

extern char** environ;

namespace watchsnap {

double MonotonicSeconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

absl::StatusOr<std::unique_ptr<Child>> Child::Start(const std::vector<std::string>& argv) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe2");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
  std::vector<char*> pointers;
  for (const std::string& word : argv) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return absl::ErrnoToStatus(error, absl::StrCat("starting ", argv[0]));
  }
  return absl::WrapUnique(new Child(pid, ends[0]));
}

Child::~Child() {
  Kill();
  close(fd_);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Child::Kill() { kill(pid_, SIGKILL); }

std::optional<Child::Line> Child::Next(absl::Time deadline) {
  for (;;) {
    const size_t end = output_.find('\n', taken_);
    if (end != std::string::npos) {
      Line line = {MonotonicSeconds(), output_.substr(taken_, end - taken_)};
      taken_ = end + 1;
      return line;
    }
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return std::nullopt;
    pollfd ready = {.fd = fd_, .events = POLLIN, .revents = 0};
    const int milliseconds =
        static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, 60'000));
    if (poll(&ready, 1, milliseconds) <= 0) continue;
    char buffer[65536];
    const ssize_t got = read(fd_, buffer, sizeof buffer);
    if (got <= 0) return std::nullopt;
    output_.append(buffer, static_cast<size_t>(got));
  }
}

std::optional<Child::Line> Child::Await(std::string_view text, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (std::optional<Line> line = Next(deadline)) {
    if (absl::StrContains(line->text, text)) return line;
  }
  return std::nullopt;
}

}  // namespace watchsnap
