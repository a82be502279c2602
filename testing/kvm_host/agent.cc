// The init process of the emulated KVM host: loads the modules, mounts the outer machine's file
// tree, runs one command in it, and hands its output, exit code and signals through. Linked
// statically, the only program of the initramfs. See protocol.h.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "testing/kvm_host/protocol.h"

namespace watchsnap::kvm_host {
namespace {

int g_port = -1;         // to the launcher
std::mutex g_port_lock;  // one frame at a time

struct Job {
  std::vector<std::string> arguments, environment, writable;
  std::string working_dir = "/";
};

void WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    data += n;
    size -= n;
  }
}

void Tell(FrameType type, const std::string& payload) {
  std::string frame(1, type);
  for (int shift = 0; shift < 32; shift += 8) {
    frame += static_cast<char>(static_cast<uint32_t>(payload.size()) >> shift);
  }
  frame += payload;
  const std::lock_guard<std::mutex> lock(g_port_lock);
  WriteAll(g_port, frame.data(), frame.size());
}

[[noreturn]] void PowerOff() {
  sync();
  // The launcher ends the machine as soon as it has the answer; this is for the case that it is
  // gone.
  sleep(5);
  reboot(RB_POWER_OFF);
  _exit(1);
}

[[noreturn]] void Fail(const std::string& what) {
  const std::string text = what + ": " + strerror(errno);
  WriteAll(2, (text + "\n").data(), text.size() + 1);
  if (g_port >= 0) Tell(kError, text);
  PowerOff();
}

void MakeDirs(const std::string& path) {
  for (size_t i = 1; i <= path.size(); ++i) {
    if (i == path.size() || path[i] == '/') mkdir(path.substr(0, i).c_str(), 0755);
  }
}

void Mount(const char* source, const std::string& target, const char* type, unsigned long flags,
           const std::string& options) {
  MakeDirs(target);
  if (mount(source, target.c_str(), type, flags, options.c_str()) != 0) {
    Fail(std::string("mounting ") + type + " " + source + " on " + target);
  }
}

std::vector<std::string> List(const std::string& dir) {
  std::vector<std::string> names;
  if (DIR* d = opendir(dir.c_str())) {
    while (dirent* entry = readdir(d)) {
      if (entry->d_name[0] != '.') names.push_back(entry->d_name);
    }
    closedir(d);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void LoadModules() {
  for (const std::string& name : List("/modules")) {
    const int fd = open(("/modules/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST)) {
      Fail("loading module " + name);
    }
    close(fd);
  }
}

// The port's device file appears some time after the driver is there.
int OpenPort() {
  const std::string ports = "/sys/class/virtio-ports/";
  for (int tries = 0; tries < 1000; ++tries) {
    for (const std::string& port : List(ports)) {
      char name[64] = {};
      const int fd = open((ports + port + "/name").c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0) continue;
      const ssize_t n = read(fd, name, sizeof(name) - 1);
      close(fd);
      if (n <= 0 || std::string(name, n - 1) != kPortName) continue;
      const int port_fd = open(("/dev/" + port).c_str(), O_RDWR | O_CLOEXEC);
      if (port_fd >= 0) return port_fd;
    }
    usleep(10000);
  }
  Fail("waiting for the port to the launcher");
}

Job ReadJob() {
  Job job;
  std::string field;
  for (;;) {
    char c;
    const ssize_t n = read(g_port, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) Fail("reading the job");
    if (c != '\0') {
      field += c;
      continue;
    }
    if (field.empty()) return job;
    const std::string value = field.substr(1);
    switch (field[0]) {
      case kArgument:
        job.arguments.push_back(value);
        break;
      case kEnvironment:
        job.environment.push_back(value);
        break;
      case kWritableDir:
        job.writable.push_back(value);
        break;
      case kWorkingDir:
        job.working_dir = value;
        break;
    }
    field.clear();
  }
}

// Makes a folder of the outer tree writable; what is written there is seen only in here and is gone
// afterwards.
void MountScratch(const std::string& path) {
  const std::string lower = "/host" + path;
  struct stat info;
  if (stat(lower.c_str(), &info) != 0) return;
  Mount("scratch", "/scratch" + path, "tmpfs", 0, "mode=1777");
  const std::string upper = "/scratch" + path + "/upper", work = "/scratch" + path + "/work";
  MakeDirs(upper);
  MakeDirs(work);
  chmod(upper.c_str(), 01777);
  const std::string options = "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work;
  if (mount("scratch", lower.c_str(), "overlay", 0, options.c_str()) != 0) {
    Mount("scratch", lower, "tmpfs", 0, "mode=1777");
  }
}

void MountOuterTree(const Job& job) {
  const std::string options = "trans=virtio,version=9p2000.L,msize=1048576";
  Mount(kRootTag, "/host", "9p", MS_RDONLY, options + ",cache=loose");
  Mount("proc", "/host/proc", "proc", 0, "");
  Mount("sysfs", "/host/sys", "sysfs", 0, "");
  Mount("devtmpfs", "/host/dev", "devtmpfs", 0, "");
  Mount("devpts", "/host/dev/pts", "devpts", 0, "");
  Mount("shm", "/host/dev/shm", "tmpfs", 0, "mode=1777");
  // What udev would make.
  (void)!symlink("/proc/self/fd", "/host/dev/fd");
  (void)!symlink("/proc/self/fd/0", "/host/dev/stdin");
  (void)!symlink("/proc/self/fd/1", "/host/dev/stdout");
  (void)!symlink("/proc/self/fd/2", "/host/dev/stderr");
  MountScratch("/tmp");
  MountScratch("/var/tmp");
  for (size_t i = 0; i < job.writable.size(); ++i) {
    Mount((kWritableTag + std::to_string(i)).c_str(), "/host" + job.writable[i], "9p", 0, options);
  }
}

void RaiseLimits() {
  (void)!sethostname("kvm-host", 8);
  const rlimit files = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  const rlimit locked = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &locked);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq loopback = {};
  strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP;
  if (fd >= 0) ioctl(fd, SIOCSIFFLAGS, &loopback);
  close(fd);
}

[[noreturn]] void ExecJob(const Job& job, int out, int err) {
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int in = open("/dev/null", O_RDONLY);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  std::vector<char*> arguments, environment;
  for (const auto& s : job.arguments) arguments.push_back(const_cast<char*>(s.c_str()));
  for (const auto& s : job.environment) environment.push_back(const_cast<char*>(s.c_str()));
  arguments.push_back(nullptr);
  environment.push_back(nullptr);
  environ = environment.data();
  std::string what = "changing to the outer file tree";
  if (chroot("/host") == 0) {
    what = "changing to the folder " + job.working_dir;
    if (chdir(job.working_dir.c_str()) == 0) {
      execvp(arguments[0], arguments.data());
      what = "cannot run " + job.arguments[0];
    }
  }
  const int error = errno;
  dprintf(2, "kvm_host: %s: %s\n", what.c_str(), strerror(error));
  _exit(error == ENOENT ? 127 : 126);
}

void Relay(int from, FrameType type) {
  char buffer[32768];
  for (;;) {
    const ssize_t n = read(from, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    Tell(type, std::string(buffer, n));
  }
}

// Waits for the command while handing signals on; reaps what it leaves behind. Returns its exit
// code as a shell would.
int WaitFor(pid_t command, int child_signals) {
  bool listen = true;
  for (;;) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == command) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    pollfd fds[] = {{child_signals, POLLIN, 0}, {listen ? g_port : -1, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) Fail("waiting for the command");
    if (fds[0].revents != 0) {
      signalfd_siginfo info;
      (void)!read(child_signals, &info, sizeof(info));
    }
    if (fds[1].revents != 0) {
      unsigned char number = 0;
      if (read(g_port, &number, 1) == 1) {
        kill(-command, number);
      } else {
        listen = false;  // the launcher is gone, and with it this machine soon
      }
    }
  }
}

int Main() {
  Mount("proc", "/proc", "proc", 0, "");
  Mount("sysfs", "/sys", "sysfs", 0, "");
  Mount("devtmpfs", "/dev", "devtmpfs", 0, "");
  const int console = open("/dev/console", O_RDWR);
  for (int fd = 0; fd < 3 && console >= 0; ++fd) dup2(console, fd);
  LoadModules();
  g_port = OpenPort();
  Tell(kReady, "");
  const Job job = ReadJob();
  RaiseLimits();
  MountOuterTree(job);

  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, nullptr);
  const int child_signals = signalfd(-1, &child, SFD_CLOEXEC);
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) Fail("making pipes");
  const pid_t command = fork();
  if (command < 0) Fail("forking");
  if (command == 0) ExecJob(job, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  Tell(kStarted, "");
  std::thread relay_out(Relay, out[0], kStdout), relay_err(Relay, err[0], kStderr);
  const int code = WaitFor(command, child_signals);
  kill(-1, SIGKILL);  // what it left running would hold the pipes open
  relay_out.join();
  relay_err.join();
  sync();
  Tell(kExit, std::to_string(code));
  PowerOff();
}

}  // namespace
}  // namespace watchsnap::kvm_host

int main() { return watchsnap::kvm_host::Main(); }
