#include "testing/benchmarks/kernel_runs.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "debug/symbols/kernel_symbols.h"
#include "snapshot/report/sidecar_reader.h"
#include "testing/benchmarks/child.h"
#include "vmm/boot/initramfs.h"

namespace watchsnap {
namespace {

constexpr char kSymbol[] = "jiffies_64";
constexpr int kMemoryMb = 256;
constexpr int kTries = 3;
// Seconds. A turn ends before a freeze that another turn interrupts gives up.
constexpr double kSettle = 1.0;  // after the watch was armed
constexpr double kTurnSettle = 0.1;
constexpr double kTurn = 0.7;

// An initramfs with the busy guest as /init.
absl::StatusOr<std::string> WriteInitramfs(const KernelFiles& files) {
  InitramfsBuilder builder;
  absl::Status status = builder.AddHostFile("init", files.busy_guest, 0755);
  if (status.ok()) status = builder.AddDevice("dev/console", DeviceKind::kCharacter, 5, 1, 0600);
  if (!status.ok()) return status;
  const std::vector<uint8_t> image = std::move(builder).Build();
  const std::string path = files.scratch + "/busy.cpio";
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  return path;
}

// Writes to each page of what memory this host has free. The pages of an emulated host are made at their first
// use, which takes longer than to boot from them: without this a row measures which side happens to get new ones.
absl::Status TouchMemory() {
  const auto pages = static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES));
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t size = pages / 8 * 7 * page;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "memory to touch");
  madvise(memory, size, MADV_HUGEPAGE);
  for (size_t at = 0; at < size; at += page) static_cast<volatile char*>(memory)[at] = 1;
  munmap(memory, size);
  return absl::OkStatus();
}

// Kilobytes in memory of a process, but for guest memory (by its name, or by its size where the kernel keeps no names)
// and the mapped vmlinux.
double ResidentBeyond(pid_t pid, std::string_view vmlinux) {
  const std::string guest_size = absl::StrCat(kMemoryMb * 1024, " kB");
  std::ifstream maps(absl::StrCat("/proc/", pid, "/smaps"));
  double total = 0;
  bool counted = true;
  std::string line;
  const std::string base(vmlinux.substr(vmlinux.rfind('/')));
  while (std::getline(maps, line)) {
    if (absl::StrContains(line, "-") && absl::StrContains(line.substr(0, line.find(' ')), "-")) {
      counted = !absl::StrContains(line, "watchsnap-guest") && !absl::EndsWith(line, base);
      continue;
    }
    int64_t kb = 0;
    if (absl::StartsWith(line, "Size:") && absl::EndsWith(line, guest_size)) counted = false;
    if (!counted || !absl::StartsWith(line, "Rss:")) continue;
    const std::vector<std::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() > 1 && absl::SimpleAtoi(words[1], &kb)) total += static_cast<double>(kb);
  }
  return total;
}

// A run of `watchsnap run` with the busy guest, which stands still (SIGSTOP) but for its turns: so guests of both
// sides take turns on the same CPUs, and what else the machine does, or how fast it is at the moment, meets both.
class BusyRun {
 public:
  // Returns once the guest counts, and the watch, if `watch` asks for one, is armed.
  static absl::StatusOr<std::unique_ptr<BusyRun>> Start(const KernelFiles& files, const std::string& initramfs,
                                                        int vcpus, const std::string& name,
                                                        const std::vector<std::string>& watch) {
    std::vector<std::string> argv = {files.watchsnap, "run", "--vmlinux", files.vmlinux, "--initrd", initramfs,
                                     "--cpus", absl::StrCat(vcpus), "--memory-mb", absl::StrCat(kMemoryMb),
                                     "--console", "--append", "quiet", "--name", name, "--sidecar-dir", files.scratch,
                                     "--duration", "600"};
    argv.insert(argv.end(), watch.begin(), watch.end());
    absl::StatusOr<std::unique_ptr<Child>> started = Child::Start(argv);
    if (!started.ok()) return started.status();
    auto run = std::unique_ptr<BusyRun>(new BusyRun(*std::move(started)));
    run->sidecar_ = absl::StrCat(files.scratch, "/", name, ".", kSymbol, ".snapshots.jsonl");
    if (!watch.empty() && !run->child_->Await("watch armed", absl::Seconds(120)).has_value()) {
      return run->Ended("the watch was not armed");
    }
    const std::optional<Child::Line> first = run->child_->Await("busy ", absl::Seconds(120));
    if (!first.has_value()) return run->Ended("the guest did not come up");
    std::optional<Child::Line> line = first;
    while (line->at < first->at + kSettle) {
      line = run->child_->Next(absl::Now() + absl::Seconds(30));
      if (!line.has_value()) return run->Ended("the guest stopped writing");
    }
    kill(run->child_->pid(), SIGSTOP);
    return run;
  }

  // What its counters make a second of the host while it runs for kTurn seconds.
  absl::StatusOr<double> Turn() {
    const double begin = MonotonicSeconds();
    kill(child_->pid(), SIGCONT);
    double from = 0, from_count = 0;
    for (;;) {
      const std::optional<Child::Line> line = child_->Next(absl::Now() + absl::Seconds(30));
      if (!line.has_value()) return Ended("the guest stopped writing");
      const size_t at = line->text.find("busy ");
      double count = 0;
      // At first come lines of the turn before.
      if (at == std::string::npos || line->at < begin + kTurnSettle ||
          !absl::SimpleAtod(line->text.substr(at + 5), &count)) {
        continue;
      }
      if (from == 0) {
        from = line->at;
        from_count = count;
      }
      if (line->at - from < kTurn) continue;
      kill(child_->pid(), SIGSTOP);
      turns_.push_back({begin + kTurnSettle, line->at});
      return (count - from_count) / (line->at - from);
    }
  }

  pid_t pid() const { return child_->pid(); }

  // Ends it and adds the pauses of the captures within its turns. Returns how many they are a second.
  absl::StatusOr<double> Finish(Samples& pauses) {
    child_->Kill();
    absl::StatusOr<Sidecar> sidecar = ReadSidecar(sidecar_);
    if (!sidecar.ok()) return sidecar.status();
    double captures = 0, seconds = 0;
    for (const Interval& turn : turns_) seconds += turn.end - turn.begin;
    for (const Report& report : sidecar->reports) {
      const double at = static_cast<double>(report.trigger.host_time_ns.value_or(0)) * 1e-9;
      const double until = at + static_cast<double>(report.cost.pause_ns) * 1e-9;
      for (const Interval& turn : turns_) {
        if (at < turn.begin || until > turn.end) continue;
        pauses.Add(static_cast<double>(report.cost.pause_ns) * 1e-3);
        ++captures;
      }
    }
    return captures / seconds;
  }

 private:
  struct Interval {
    double begin = 0, end = 0;
  };
  explicit BusyRun(std::unique_ptr<Child> child) : child_(std::move(child)) {}
  absl::Status Ended(std::string_view what) const {
    const std::string& output = child_->output();
    return absl::UnavailableError(absl::StrCat(what, "; the last of its output: ",
                                               output.substr(output.size() - std::min<size_t>(output.size(), 3000))));
  }

  std::unique_ptr<Child> child_;
  std::string sidecar_;
  std::vector<Interval> turns_;
};

// The sides of a progress row.
struct Progress {
  Samples watched, unwatched, only_hit;  // counts a second, one for each turn
  Samples pauses;
  double beyond_kb = 0;
  double captures_per_second = 0;
};

std::vector<std::string> Watch() {
  return {"--watch", kSymbol, "--max-captures", "1000000000", "--max-frozen-permille", "1000"};
}

absl::StatusOr<Progress> RunProgress(const KernelFiles& files, const std::string& initramfs, int vcpus, int turns) {
  std::vector<std::string> only_hit = Watch();
  only_hit.insert(only_hit.end(), {"--when", "==1"});  // jiffies_64 begins far above
  Progress progress;
  struct Side {
    const char* name;
    std::vector<std::string> watch;
    Samples* rates;
    std::unique_ptr<BusyRun> run;
  };
  Side sides[] = {{"watched", Watch(), &progress.watched, nullptr},
                  {"unwatched", {}, &progress.unwatched, nullptr},
                  {"only-hit", only_hit, &progress.only_hit, nullptr}};
  for (Side& side : sides) {
    absl::StatusOr<std::unique_ptr<BusyRun>> run =
        BusyRun::Start(files, initramfs, vcpus, absl::StrCat("bench-", side.name), side.watch);
    if (!run.ok()) return run.status();
    side.run = *std::move(run);
  }
  for (int turn = 0; turn < turns; ++turn) {
    for (size_t i = 0; i < std::size(sides); ++i) {
      // Each goes first as often as the others.
      Side& side = sides[(i + static_cast<size_t>(turn)) % std::size(sides)];
      const absl::StatusOr<double> rate = side.run->Turn();
      if (!rate.ok()) return rate.status();
      side.rates->Add(*rate);
    }
  }
  progress.beyond_kb = ResidentBeyond(sides[0].run->pid(), files.vmlinux);
  const absl::StatusOr<double> captures = sides[0].run->Finish(progress.pauses);
  if (!captures.ok()) return captures.status();
  progress.captures_per_second = *captures;
  return progress;
}

absl::StatusOr<double> SecondsToReady(const std::vector<std::string>& argv) {
  const double start = MonotonicSeconds();
  absl::StatusOr<std::unique_ptr<Child>> child = Child::Start(argv);
  if (!child.ok()) return child.status();
  const std::optional<Child::Line> ready = (*child)->Await("busy", absl::Seconds(120));
  if (!ready.has_value()) {
    return absl::UnavailableError(
        absl::StrCat(argv[0], " did not get there: ", (*child)->output().substr(0, 2000)));
  }
  return ready->at - start;
}

std::vector<std::string> QemuCommand(const KernelFiles& files, const std::string& initramfs) {
  const std::string lib = files.qemu_dir + "/lib";
  return {lib + "/ld.so", "--library-path", lib, files.qemu_dir + "/bin/qemu-system-x86_64", "-L",
          files.qemu_dir + "/share", "-M", "microvm,acpi=on,rtc=on", "-accel", "kvm", "-cpu", "host",
          "-smp", "1", "-m", "256", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
          "-nic", "none", "-kernel", files.image, "-initrd", initramfs, "-append",
          kBenchmarkCommandLine};
}

}  // namespace

std::vector<Figure> MeasureProgress(const KernelFiles& files, int vcpus, int turns) {
  const std::string name = absl::StrCat("progress of a guest busy on ", vcpus, " vCPU", vcpus == 1 ? "" : "s",
                                        " with jiffies_64 watched, each write a capture, in wall time");
  const char* const against = "the same guest unwatched";
  const absl::StatusOr<std::string> initramfs = WriteInitramfs(files);
  absl::Status status = initramfs.status();
  if (status.ok()) status = TouchMemory();
  if (!status.ok()) return {NotMeasured(name, against, std::string(status.message()))};
  absl::StatusOr<Progress> progress = absl::UnavailableError("not tried");
  int tries = 0;
  for (; !progress.ok() && tries < kTries; ++tries) progress = RunProgress(files, *initramfs, vcpus, turns);
  if (!progress.ok()) return {NotMeasured(name, against, std::string(progress.status().message()))};
  const double unwatched = progress->unwatched.Median();
  Figure figure;
  figure.name = name;
  figure.against = against;
  figure.at_least = vcpus == 1 ? 0.95 : 0.85;
  figure.to_reach = vcpus == 1 ? "≥ 0.95" : "≥ 0.85";
  figure.ratio = progress->watched.Median() / unwatched;
  figure.measured = absl::StrFormat("%.0f / %.0f counts a second; %.0f captures a second, pause %s",
                                    progress->watched.Median(), unwatched, progress->captures_per_second,
                                    InWords(progress->pauses));
  figure.note = absl::StrFormat("with a condition that never holds, so hits alone: %.2f",
                                progress->only_hit.Median() / unwatched);
  if (tries > 1) absl::StrAppend(&figure.note, "; a guest ended early and all was repeated, ", tries - 1, " times");
  std::vector<Figure> figures = {figure};
  if (vcpus == 1) {
    Figure memory;
    memory.name = "memory of the VMM beyond guest memory and mapped vmlinux";
    memory.against = "16 MB";
    memory.to_reach = "≤ 1.0";
    memory.at_most = 1.0;
    memory.ratio = progress->beyond_kb / (16 * 1024);
    memory.measured = absl::StrFormat("%.1f MB, while each write to jiffies_64 is captured", progress->beyond_kb / 1024);
    figures.push_back(memory);
  }
  return figures;
}

std::vector<Figure> MeasureBoot(const KernelFiles& files, int rounds) {
  const std::string names[] = {"boot of the stock kernel to /init, from bzImage",
                               "boot of the stock kernel to /init, from vmlinux"};
  const char* const against = "QEMU -M microvm, same bzImage, initramfs and host";
  const absl::StatusOr<std::string> initramfs = WriteInitramfs(files);
  absl::Status status = initramfs.status();
  if (status.ok() && files.qemu_dir.empty()) status = absl::NotFoundError("there is no QEMU");
  if (status.ok()) status = TouchMemory();
  Samples image, vmlinux, qemu;
  for (int i = 0; i < rounds && status.ok(); ++i) {
    std::vector<std::string> ours = {"/proc/self/exe", "--boot", files.image, *initramfs};
    for (auto& [samples, argv] :
         {std::pair<Samples&, std::vector<std::string>>(qemu, QemuCommand(files, *initramfs)),
          std::pair<Samples&, std::vector<std::string>>(image, ours),
          std::pair<Samples&, std::vector<std::string>>(
              vmlinux, {"/proc/self/exe", "--boot", files.vmlinux, *initramfs})}) {
      const absl::StatusOr<double> seconds = SecondsToReady(argv);
      status.Update(seconds.status());
      if (!seconds.ok()) break;
      samples.Add(*seconds * 1e6);
    }
  }
  if (!status.ok()) {
    return {NotMeasured(names[0], against, std::string(status.message())),
            NotMeasured(names[1], against, std::string(status.message()))};
  }
  return {Compare(names[0], against, 1.0, image, qemu), Compare(names[1], against, 0.7, vmlinux, qemu)};
}

Figure MeasureGdb(const KernelFiles& files) {
  constexpr int kHits = 100;
  constexpr char kGdb[] = "/usr/bin/gdb";
  const char* const name = "cost of a hit with gdb on QEMU's stub, watch with a counting command list, nothing captured";
  const char* const against = "our captured hit of the same symbol (its pause)";
  const auto fail = [&](const absl::Status& status) {
    return NotMeasured(name, against, std::string(status.message()));
  };
  if (access(kGdb, X_OK) != 0) return fail(absl::NotFoundError("there is no /usr/bin/gdb"));
  if (files.qemu_dir.empty()) return fail(absl::NotFoundError("there is no QEMU"));
  const absl::StatusOr<std::string> initramfs = WriteInitramfs(files);
  if (!initramfs.ok()) return fail(initramfs.status());
  absl::StatusOr<std::shared_ptr<const KernelSymbols>> symbols = KernelSymbols::Open(files.vmlinux);
  if (!symbols.ok()) return fail(symbols.status());
  const absl::StatusOr<uint64_t> address = (*symbols)->AddressOf(kSymbol);
  if (!address.ok()) return fail(address.status());

  Samples pauses;
  {
    absl::StatusOr<std::unique_ptr<BusyRun>> ours = BusyRun::Start(files, *initramfs, 1, "bench-gdb", Watch());
    absl::Status status = ours.status();
    for (int turn = 0; status.ok() && turn < 5; ++turn) status = (*ours)->Turn().status();
    if (status.ok()) status = (*ours)->Finish(pauses).status();
    if (!status.ok()) return fail(status);
  }

  const std::string socket = "/tmp/benchmark-gdb.sock";
  unlink(socket.c_str());
  std::vector<std::string> argv = QemuCommand(files, *initramfs);
  argv.back() += " nokaslr";
  argv.insert(argv.end(), {"-chardev", absl::StrCat("socket,path=", socket, ",server=on,wait=off,id=gdb"),
                           "-gdb", "chardev:gdb"});
  absl::StatusOr<std::unique_ptr<Child>> qemu = Child::Start(argv);
  if (!qemu.ok()) return fail(qemu.status());
  if (!(*qemu)->Await("busy", absl::Seconds(120)).has_value()) {
    return fail(absl::UnavailableError(absl::StrCat("QEMU's guest did not come up: ", (*qemu)->output())));
  }
  const std::string script = files.scratch + "/count.gdb";
  std::ofstream(script) << "set pagination off\nset confirm off\nset architecture i386:x86-64\n"
                        << "target remote " << socket << "\nset $n = 0\n"
                        << absl::StrFormat("watch *(unsigned int*)%#x\n", *address)
                        << "commands\nsilent\nset $n = $n + 1\nif $n == 1\necho first\\n\nend\n"
                        << "if $n == " << kHits + 1 << "\necho last\\n\nkill\nquit\nend\ncontinue\nend\ncontinue\n";
  absl::StatusOr<std::unique_ptr<Child>> gdb = Child::Start({kGdb, "-nx", "-batch", "-x", script});
  if (!gdb.ok()) return fail(gdb.status());
  const std::optional<Child::Line> first = (*gdb)->Await("first", absl::Seconds(60));
  const std::optional<Child::Line> last = (*gdb)->Await("last", absl::Seconds(120));
  if (!first.has_value() || !last.has_value()) {
    return fail(absl::UnavailableError(absl::StrCat("gdb did not count: ", (*gdb)->output())));
  }
  const double hit_us = (last->at - first->at) * 1e6 / kHits;
  Figure figure;
  figure.name = name;
  figure.against = against;
  figure.to_reach = "≥ 200";
  figure.at_least = 200;
  figure.ratio = hit_us / pauses.Median();
  figure.measured = absl::StrFormat("%.0f µs / %s", hit_us, InWords(pauses));
  return figure;
}

}  // namespace watchsnap
