// The first process of a guest that is to be found inside its kernel: one process a CPU that makes
// system calls and page faults without end, and a third that asks the kernel for the stacks of all
// CPUs (sysrq l), last for a crash (sysrq c). Writes "busy guest: ready" to the console first.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

void Sleep(int milliseconds) {
  timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
  nanosleep(&time, nullptr);
}

void BeBusy() {
  static char buffer[65536];
  int ends[2];
  if (pipe(ends) != 0) _exit(1);
  for (;;) {
    for (int i = 0; i < 20; ++i) {
      if (write(ends[1], buffer, 4096) < 0 || read(ends[0], buffer, 4096) < 0) _exit(1);
    }
    void* pages =
        mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) _exit(1);
    for (int i = 0; i < 1 << 20; i += 4096) static_cast<volatile char*>(pages)[i] = 1;
    munmap(pages, 1 << 20);
    if (getrandom(buffer, sizeof buffer, 0) < 0) _exit(1);
    const int file = open("/proc/self/stat", O_RDONLY);
    if (file >= 0) {
      if (read(file, buffer, sizeof buffer) < 0) _exit(1);
      close(file);
    }
    if (const pid_t child = fork(); child == 0)
      _exit(0);
    else if (child > 0)
      waitpid(child, nullptr, 0);
  }
}

void Sysrq(const char* key) {
  const int file = open("/proc/sysrq-trigger", O_WRONLY);
  if (file < 0 || write(file, key, 1) < 0) printf("busy guest: sysrq failed\n");
  if (file >= 0) close(file);
}

}  // namespace

int main() {
  mkdir("/proc", 0755);
  mount("proc", "/proc", "proc", 0, nullptr);
  const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  for (long i = 0; i < cpus; ++i) {
    if (fork() == 0) BeBusy();
  }
  printf("busy guest: ready, %ld CPUs\n", cpus);
  fflush(stdout);
  // The host freezes us meanwhile. It writes nothing: it waits for what it sees of us.
  Sleep(12000);
  for (int i = 0; i < 12; ++i) {
    Sysrq("l");
    Sleep(200);
  }
  printf("busy guest: crash\n");
  fflush(stdout);
  Sleep(500);
  Sysrq("c");
  for (;;) pause();
}
