#include "testing/kvm_host/emulator.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "testing/kvm_host/protocol.h"
#include "testing/kvm_host/tsc.h"

namespace watchsnap::kvm_host {
namespace {

// QEMU's option syntax: a comma in a value is doubled.
std::string Escaped(const std::string& path) { return absl::StrReplaceAll(path, {{",", ",,"}}); }

std::string KernelArguments() {
  // nohz=off: now and then an idle emulated CPU misses the interrupt that should wake it, and what was to run
  // there hangs; a tick that never stops wakes it a few milliseconds later.
  std::string arguments =
      "console=ttyS0 loglevel=5 panic=-1 tsc=reliable mitigations=off nokaslr nohz=off cryptomgr.notests";
  if (const int64_t khz = MeasureTscKhz(); khz > 0) {
    absl::StrAppend(&arguments, " tsc_early_khz=", khz);
  }
  return arguments;
}

void AddShare(std::vector<std::string>& command, const std::string& tag, const std::string& path,
              bool writable) {
  command.push_back("-fsdev");
  command.push_back(absl::StrCat("local,id=", tag, ",path=", Escaped(path),
                                 ",security_model=none,multidevs=remap",
                                 writable ? "" : ",readonly=on"));
  command.push_back("-device");
  command.push_back(absl::StrCat("virtio-9p-device,fsdev=", tag, ",mount_tag=", tag));
}

}  // namespace

std::vector<std::string> EmulatorCommand(const Parts& parts, const EmulatorOptions& options,
                                         int port_fd) {
  const std::string lib = parts.qemu_dir + "/lib";
  // clang-format off
  std::vector<std::string> command = {
      // Its own dynamic linker and libraries: the machine's may be older, or other.
      lib + "/ld.so",
      "--library-path", lib,
      parts.qemu_dir + "/bin/qemu-system-x86_64",
      "-L", parts.qemu_dir + "/share",
      // microvm: with a PC's firmware the machine takes 30 s to start.
      "-M", "microvm,acpi=on,rtc=on,pic=on,pit=on",
      "-accel", "tcg,thread=multi,tb-size=1024",
      // "max" has SVM; without erms and fsrm, because QEMU runs rep movsb byte by byte.
      "-cpu", "max,-erms,-fsrm",
      "-smp", absl::StrCat(options.cpus),
      "-m", absl::StrCat(options.memory_mb),
      "-nodefaults",
      "-display",
      "none",
      "-serial", "stdio",
      "-no-reboot",
      "-nic",
      "none",
      "-kernel", parts.kernel,
      "-initrd", parts.initramfs,
      "-append", KernelArguments(),
      "-device", "virtio-serial-device",
      "-chardev", absl::StrCat("socket,id=port,fd=", port_fd),
      "-device", absl::StrCat("virtserialport,chardev=port,name=", kPortName),
  };
  // clang-format on
  AddShare(command, kRootTag, "/", false);
  for (size_t i = 0; i < options.writable.size(); ++i) {
    AddShare(command, absl::StrCat(kWritableTag, i), options.writable[i], true);
  }
  return command;
}

absl::StatusOr<std::unique_ptr<Emulator>> Emulator::Start(const Parts& parts,
                                                          const EmulatorOptions& options) {
  int port[2], log[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, port) != 0) {
    return absl::ErrnoToStatus(errno, "making the socket for the emulator's port");
  }
  if (pipe2(log, O_CLOEXEC) != 0) {
    close(port[0]);
    close(port[1]);
    return absl::ErrnoToStatus(errno, "making the pipe for the emulator's log");
  }
  // Before fork(): between it and exec nothing may allocate.
  const std::vector<std::string> command = EmulatorCommand(parts, options, port[1]);
  std::vector<char*> argv;
  for (const std::string& s : command) argv.push_back(const_cast<char*>(s.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0);  // a terminal's Ctrl-C is for the command inside, not for the machine
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    fcntl(port[1], F_SETFD, 0);
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(log[1], 1);
    dup2(log[1], 2);
    execv(argv[0], argv.data());
    dprintf(2, "cannot run %s: errno %d\n", argv[0], errno);
    _exit(127);
  }
  const int fork_error = errno;
  close(port[1]);
  close(log[1]);
  if (pid < 0) {
    close(port[0]);
    close(log[0]);
    return absl::ErrnoToStatus(fork_error, "starting the emulator");
  }
  return absl::WrapUnique(new Emulator(pid, port[0], log[0]));
}

Emulator::~Emulator() {
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  close(port_);
  close(log_);
}

}  // namespace watchsnap::kvm_host
