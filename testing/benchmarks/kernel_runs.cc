#include "testing/benchmarks/kernel_runs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
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
constexpr double kSettle = 1.0;    // seconds, after the watch was armed
constexpr double kMeasured = 8.0;  // seconds

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

struct Progress {
  double rate = 0;  // of the guest's counters, a second of the host
  double beyond_kb = 0;
  double hits_per_second = 0;
};

absl::StatusOr<Progress> RunBusy(const KernelFiles& files, const std::string& initramfs, int vcpus,
                                 bool watched, Samples* pauses) {
  std::vector<std::string> argv = {files.watchsnap, "run", "--vmlinux", files.vmlinux, "--initrd", initramfs,
                                   "--cpus", absl::StrCat(vcpus), "--memory-mb", absl::StrCat(kMemoryMb), "--console",
                                   "--append", "quiet", "--name", "bench", "--sidecar-dir", files.scratch,
                                   "--duration", "60"};
  if (watched) {
    for (const char* word : {"--watch", kSymbol, "--max-captures", "1000000000",
                             "--max-frozen-permille", "1000"}) {
      argv.push_back(word);
    }
  }
  absl::StatusOr<std::unique_ptr<Child>> started = Child::Start(argv);
  if (!started.ok()) return started.status();
  Child& child = **started;
  if (watched && !child.Await("watch armed", absl::Seconds(120)).has_value()) {
    return absl::UnavailableError(absl::StrCat("the watch was not armed: ", child.output()));
  }
  std::optional<Child::Line> first = child.Await("busy ", absl::Seconds(120));
  if (!first.has_value()) {
    return absl::UnavailableError(absl::StrCat("the guest did not come up: ", child.output()));
  }
  const double begin = first->at + kSettle;
  Progress progress;
  double from = 0, from_count = 0, to = 0, to_count = 0;
  for (;;) {
    std::optional<Child::Line> line = child.Next(absl::Now() + absl::Seconds(30));
    if (!line.has_value()) {
      const std::string& output = child.output();
      return absl::UnavailableError(
          absl::StrCat("the guest stopped writing; the last of its output: ",
                       output.substr(output.size() - std::min<size_t>(output.size(), 3000))));
    }
    const size_t at = line->text.find("busy ");
    double count = 0;
    if (at == std::string::npos || line->at < begin ||
        !absl::SimpleAtod(line->text.substr(at + 5), &count)) {
      continue;
    }
    if (from == 0) {
      from = line->at;
      from_count = count;
    }
    to = line->at;
    to_count = count;
    if (to - from >= kMeasured) break;
  }
  progress.rate = (to_count - from_count) / (to - from);
  progress.beyond_kb = ResidentBeyond(child.pid(), files.vmlinux);
  child.Kill();
  if (watched) {
    absl::StatusOr<Sidecar> sidecar =
        ReadSidecar(absl::StrCat(files.scratch, "/bench.", kSymbol, ".snapshots.jsonl"));
    if (!sidecar.ok()) return sidecar.status();
    for (const Report& report : sidecar->reports) {
      if (pauses != nullptr) pauses->Add(static_cast<double>(report.cost.pause_ns) * 1e-3);
    }
    if (sidecar->reports.size() > 1) {
      const uint64_t span = sidecar->reports.back().trigger.host_time_ns.value_or(0) -
                            sidecar->reports.front().trigger.host_time_ns.value_or(0);
      progress.hits_per_second = static_cast<double>(sidecar->reports.size()) / (static_cast<double>(span) * 1e-9);
    }
  }
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
          "console=ttyS0 panic=-1 quiet"};
}

}  // namespace

std::vector<Figure> MeasureProgress(const KernelFiles& files, int vcpus, int rounds) {
  const std::string name = absl::StrCat("progress of a guest busy on ", vcpus, " vCPU", vcpus == 1 ? "" : "s",
                                        " with jiffies_64 watched, each write a capture, in wall time");
  const char* const against = "the same guest unwatched";
  const absl::StatusOr<std::string> initramfs = WriteInitramfs(files);
  if (!initramfs.ok()) {
    return {NotMeasured(name, against, std::string(initramfs.status().message()))};
  }
  Samples watched, unwatched, pauses, beyond, hits;
  int repeated = 0;
  for (int i = 0; i < rounds; ++i) {
    for (const bool with : {true, false}) {
      absl::StatusOr<Progress> progress;
      for (int tries = 0; !progress.ok() && tries < kTries; ++tries) {
        if (tries > 0) ++repeated;
        progress = RunBusy(files, *initramfs, vcpus, with, &pauses);
      }
      if (!progress.ok()) {
        return {NotMeasured(name, against, std::string(progress.status().message()))};
      }
      (with ? watched : unwatched).Add(progress->rate);
      if (with) beyond.Add(progress->beyond_kb);
      if (with) hits.Add(progress->hits_per_second);
    }
  }
  Figure figure;
  figure.name = name;
  figure.against = against;
  figure.at_least = vcpus == 1 ? 0.95 : 0.85;
  figure.to_reach = vcpus == 1 ? "≥ 0.95" : "≥ 0.85";
  figure.ratio = watched.Median() / unwatched.Median();
  figure.measured = absl::StrFormat("%.0f / %.0f counts a second; %.0f captures a second, pause %s",
                                    watched.Median(), unwatched.Median(), hits.Median(), InWords(pauses));
  if (repeated > 0) {
    figure.note = absl::StrCat(repeated, " runs ended early and were repeated");
  }
  std::vector<Figure> figures = {figure};
  if (vcpus == 1) {
    Figure memory;
    memory.name = "memory of the VMM beyond guest memory and mapped vmlinux";
    memory.against = "16 MB";
    memory.to_reach = "≤ 1.0";
    memory.at_most = 1.0;
    memory.ratio = beyond.Median() / (16 * 1024);
    memory.measured = absl::StrFormat("%.1f MB, while each write to jiffies_64 is captured", beyond.Median() / 1024);
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
  const absl::StatusOr<Progress> ours = RunBusy(files, *initramfs, 1, true, &pauses);
  if (!ours.ok()) return fail(ours.status());

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
