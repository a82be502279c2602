// The first process of a guest whose progress is looked at: one process a CPU that counts as fast as it can. The first
// writes the sum of all to the console now and then, from 0 on: "busy N".
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr int kMostCpus = 64;
constexpr int kChunk = 200'000;
constexpr int kChunksALine = 100;

struct alignas(64) Counter {
  volatile uint64_t chunks;
};

void Count(Counter* counters, int self, int cpus) {
  for (;;) {
    for (int i = 0; i < kChunk; ++i) __asm__ volatile("");
    counters[self].chunks = counters[self].chunks + 1;
    if (self != 0 || counters[0].chunks % kChunksALine != 0) continue;
    uint64_t sum = 0;
    for (int i = 0; i < cpus; ++i) sum += counters[i].chunks;
    char line[64];
    const int length = snprintf(line, sizeof line, "busy %llu\n", static_cast<unsigned long long>(sum));
    if (write(1, line, static_cast<size_t>(length)) < 0) _exit(1);
  }
}

}  // namespace

int main() {
  // That it got here.
  constexpr char kReady[] = "busy 0\n";
  if (write(1, kReady, sizeof kReady - 1) < 0) return 1;
  void* shared = mmap(nullptr, sizeof(Counter) * kMostCpus, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  auto* counters = static_cast<Counter*>(shared);
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  const int cpus = online < 1 ? 1 : online > kMostCpus ? kMostCpus : static_cast<int>(online);
  for (int i = 1; i < cpus; ++i) {
    if (fork() == 0) Count(counters, i, cpus);
  }
  Count(counters, 0, cpus);
}
