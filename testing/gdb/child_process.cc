#include "testing/gdb/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace watchsnap {
namespace {

int CountIn(std::string_view in, std::string_view text) {
  int count = 0;
  for (size_t at = in.find(text); at != in.npos; at = in.find(text, at + text.size())) ++count;
  return count;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int fds[2] = {-1, -1};
  if (pipe2(fds, O_CLOEXEC) != 0) return;
  pid_ = fork();
  if (pid_ == 0) {
    dup2(fds[1], STDOUT_FILENO);
    dup2(fds[1], STDERR_FILENO);
    const int null = open("/dev/null", O_RDONLY);
    if (null >= 0) dup2(null, STDIN_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(fds[1]);
  reader_ = std::thread([this, fd = fds[0]] {
    char bytes[4096];
    for (;;) {
      const ssize_t got = read(fd, bytes, sizeof bytes);
      if (got < 0 && errno == EINTR) continue;
      absl::MutexLock lock(&mutex_);
      if (got <= 0) {
        ended_ = true;
        break;
      }
      output_.append(bytes, got);
    }
    close(fd);
  });
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0 && status_ < 0) {
    kill(pid_, SIGKILL);
    Wait();
  }
  if (reader_.joinable()) reader_.join();
}

bool ChildProcess::WaitFor(std::string_view text, absl::Duration timeout, int times) {
  absl::MutexLock lock(&mutex_);
  const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return ended_ || CountIn(output_, text) >= times;
  };
  mutex_.AwaitWithTimeout(absl::Condition(&there), timeout);
  return CountIn(output_, text) >= times;
}

int ChildProcess::Count(std::string_view text) const {
  absl::MutexLock lock(&mutex_);
  return CountIn(output_, text);
}

std::string ChildProcess::output() const {
  absl::MutexLock lock(&mutex_);
  return output_;
}

void ChildProcess::Terminate() {
  if (pid_ > 0 && status_ < 0) kill(pid_, SIGTERM);
}

int ChildProcess::Wait() {
  if (reader_.joinable()) reader_.join();
  int status = 0;
  if (status_ < 0 && pid_ > 0 && waitpid(pid_, &status, 0) == pid_) {
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return status_;
}

}  // namespace watchsnap
