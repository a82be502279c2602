#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "debug/gdb_server/gdb_server.h"
#include "debug/hw_watch/self_test.h"
#include "debug/kernel/kernel_variables.h"
#include "debug/symbols/kernel_symbols.h"
#include "snapshot/cli/capture_table.h"
#include "snapshot/cli/command_line.h"
#include "snapshot/cli/commands.h"
#include "snapshot/cli/exit_codes.h"
#include "snapshot/cli/user_path.h"
#include "snapshot/guest_init/guest_init_image.h"
#include "snapshot/report/report_json.h"
#include "snapshot/vm_session.h"

namespace watchsnap {
namespace {

constexpr char kSummary[] =
    "Boots a kernel, stops it at every write to the symbols named, and shows and keeps a capture of each.\n"
    "Watches are armed before the guest's /init starts. Captures go to one .snapshots.jsonl file a symbol.";

CommandLine RunCommandLine() {
  return CommandLine(
      "watchsnap run", kSummary, "",
      {{"vmlinux", "FILE", "ELF kernel with symbols, of the same build as what is booted (required)"},
       {"kernel", "FILE", "bzImage to boot; default: the vmlinux itself, which is faster"},
       {"initrd", "FILE", "initramfs; default: a built-in init that idles"},
       {"cpus", "N", "vCPUs, 1 to 64 (1)"},
       {"topology", "SPEC", "vCPUs in groups, instead of --cpus: numa=2,llcs=2,cores=2,threads=2"},
       {"memory-mb", "N", "guest memory (512)"},
       {"append", "STRING", "further kernel command line"},
       {"watch", "SYM[,SYM…]", "symbols to watch, at most 3; may be repeated"},
       {"var", "NAME[,NAME…]", "kernel variables that every capture takes along; may be repeated"},
       {"max-captures", "N", "captures a watch may make; further hits are counted (1000)"},
       {"max-frozen-permille", "N", "thousandths of a second a watch may freeze the guest (100)"},
       {"when", "COND", "capture only hits that store such a value: changed, ==VALUE, &MASK==VALUE, "
                        "LEAST..MOST (always)"},
       {"every", "N", "of those the first and then every Nth (1)"},
       {"min-interval", "MS", "at least so many milliseconds after the capture before (0)"},
       {"on-budget", "count|disarm", "past --max-captures: go on counting hits, or disarm the watch (count)"},
       {"queue-full", "block|count", "captures come faster than they are written: the hit waits, the guest "
                                     "frozen, or is counted only (block)"},
       {"duration", "SECONDS", "wall time from the moment the watches are armed; default: until the "
                               "guest powers off"},
       {"boot-timeout", "SECONDS", "wall time to user space (60)"},
       {"name", "NAME", "names the sidecar files (run)"},
       {"sidecar-dir", "DIR", "where they go (watchsnap-out)"},
       {"debug-plugin", "NAME", "how to trap (hw_watch)"},
       {"gdb", "unix:PATH", "let gdb attach over a Unix socket, made at PATH; it shares the watchpoint slots"},
       {"host", "auto|direct|emulated", "where to run: this machine's KVM, or an emulated KVM host with real "
                                        "watchpoints (auto)"},
       {"console", "", "show the guest's console on stderr"},
       {"json", "", "captures as JSON lines on stdout instead of a table"}});
}

int Complain(std::string_view text, int code) {
  std::fprintf(stderr, "watchsnap run: %.*s\n", static_cast<int>(text.size()), text.data());
  return code;
}

// Written to by the signal handler; the session watches it.
int interrupt_fd = -1;

void OnSignal(int) {
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t ignored = write(interrupt_fd, &one, sizeof one);
}

void CatchSignals() {
  interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESETHAND;  // a second Ctrl-C ends it the hard way
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

absl::StatusOr<std::vector<uint8_t>> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read '", path, "'"));
  std::vector<uint8_t> bytes;
  std::vector<char> chunk(1 << 18);
  while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || file.gcount() > 0) {
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + file.gcount());
  }
  if (file.bad()) return absl::UnavailableError(absl::StrCat("cannot read '", path, "' to its end"));
  return bytes;
}

// Of an option with two values: whether it is the second; without the option it is the first.
absl::StatusOr<bool> OneOf(const CommandLine& line, std::string_view option, std::string_view first,
                           std::string_view second) {
  const std::string value = line.Get(option, first);
  if (value == first) return false;
  if (value == second) return true;
  return absl::InvalidArgumentError(
      absl::StrCat("--", option, " is ", first, " or ", second, ", not '", value, "'"));
}

// The configuration that `line` asks for; InvalidArgument for usage.
absl::StatusOr<VmSessionConfig> Configure(const CommandLine& line) {
  VmSessionConfig config;
  if (!line.operands().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected '", line.operands()[0], "'; see 'watchsnap run --help'"));
  }
  if (!line.Has("vmlinux")) return absl::InvalidArgumentError("--vmlinux FILE is required");
  config.vmlinux_path = UserPath(line.Get("vmlinux"));
  config.kernel_path = UserPath(line.Get("kernel"));
  for (const std::string& path : {config.vmlinux_path, config.kernel_path}) {
    if (!path.empty() && access(path.c_str(), R_OK) != 0) {
      return absl::InvalidArgumentError(absl::StrCat("cannot read '", path, "'"));
    }
  }
  for (const std::string& list : line.All("watch")) {
    for (std::string_view symbol : absl::StrSplit(list, ',', absl::SkipEmpty())) {
      config.watches.emplace_back(symbol);
    }
  }
  for (const std::string& list : line.All("var")) {
    for (std::string_view name : absl::StrSplit(list, ',', absl::SkipEmpty())) {
      config.variables.emplace_back(name);
    }
  }
  const auto number = [&line](std::string_view name, int64_t otherwise, int64_t least, int64_t most,
                              auto& out) {
    absl::StatusOr<int64_t> value = line.GetInt(name, otherwise, least, most);
    if (value.ok()) out = static_cast<std::remove_reference_t<decltype(out)>>(*value);
    return value.status();
  };
  int64_t memory_mb = 0, duration = 0, boot_timeout = 0, min_interval_ms = 0;
  for (const absl::Status& status :
       {number("cpus", 1, 1, 64, config.vcpus),
        number("memory-mb", 512, 64, 1 << 20, memory_mb),
        number("max-captures", 1000, 0, int64_t{1} << 60, config.watch_options.max_captures),
        number("max-frozen-permille", 100, 1, 1000, config.watch_options.max_frozen_permille),
        number("every", 1, 1, int64_t{1} << 60, config.watch_options.every_nth),
        number("min-interval", 0, 0, 1'000'000'000, min_interval_ms),
        number("duration", 0, 1, 1'000'000, duration),
        number("boot-timeout", 60, 1, 100'000, boot_timeout)}) {
    if (!status.ok()) return status;
  }
  config.watch_options.min_interval_us = static_cast<uint64_t>(min_interval_ms) * 1000;
  absl::StatusOr<WatchCondition> when = ParseWatchCondition(line.Get("when", "always"));
  if (!when.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--when: ", when.status().message()));
  }
  config.watch_options.when = *when;
  absl::StatusOr<bool> disarm = OneOf(line, "on-budget", "count", "disarm");
  if (!disarm.ok()) return disarm.status();
  if (*disarm) config.watch_options.on_budget = OnBudget::kDisarm;
  absl::StatusOr<bool> count = OneOf(line, "queue-full", "block", "count");
  if (!count.ok()) return count.status();
  if (*count) config.watch_options.queue_full = QueueFull::kCount;
  if (line.Has("topology")) {
    if (line.Has("cpus")) {
      return absl::InvalidArgumentError(
          "--cpus and --topology: give one of them; a topology says how many vCPUs there are");
    }
    absl::StatusOr<CpuTopology> topology = ParseCpuTopology(line.Get("topology"));
    if (!topology.ok()) return topology.status();
    config.topology = *topology;
    config.vcpus = topology->vcpus();
  }
  config.memory_bytes = static_cast<uint64_t>(memory_mb) << 20;
  if (line.Has("duration")) config.duration = absl::Seconds(duration);
  config.boot_timeout = absl::Seconds(boot_timeout);
  config.test_name = line.Get("name", "run");
  config.sidecar_dir = UserPath(line.Get("sidecar-dir", "watchsnap-out"));
  config.debug_plugin = line.Get("debug-plugin", "hw_watch");
  if (line.Has("gdb")) {
    const std::string where = line.Get("gdb");
    std::string_view path = where;
    if (!absl::ConsumePrefix(&path, "unix:")) {
      return absl::InvalidArgumentError(
          absl::StrCat("--gdb is unix:PATH, as unix:/tmp/gdb.sock, not '", where, "'"));
    }
    config.gdb_socket = path.empty() ? "" : UserPath(std::string(path));
    absl::Status status = gdb::CheckSocketPath(config.gdb_socket);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat("--gdb: ", status.message()));
  }
  config.append = absl::StrCat(line.Get("append"), " rdinit=/", kGuestInitPath);
  std::vector<uint8_t> user_initrd;
  if (line.Has("initrd")) {
    absl::StatusOr<std::vector<uint8_t>> read = ReadFile(UserPath(line.Get("initrd")));
    if (!read.ok()) return absl::InvalidArgumentError(read.status().message());
    user_initrd = *std::move(read);
  }
  absl::StatusOr<std::vector<uint8_t>> initrd = WithGuestInit(user_initrd);
  if (!initrd.ok()) return initrd.status();
  config.initrd = *std::move(initrd);
  return config;
}

// A typo is told at once, wherever the run would take place.
int CheckSymbols(const VmSessionConfig& config) {
  if (config.watches.empty() && config.variables.empty()) return kExitOk;
  absl::StatusOr<std::shared_ptr<const KernelSymbols>> symbols =
      KernelSymbols::Open(config.vmlinux_path);
  if (!symbols.ok()) return Complain(symbols.status().message(), kExitWatchRefused);
  for (const std::string& symbol : config.watches) {
    const absl::Status status = (*symbols)->ResolveData(symbol).status();
    if (!status.ok()) return Complain(status.message(), kExitWatchRefused);
  }
  for (const std::string& name : config.variables) {
    const absl::Status status = CheckKernelVariable(**symbols, name);
    if (!status.ok()) return Complain(status.message(), kExitWatchRefused);
  }
  return kExitOk;
}

int RunElsewhere(const Arguments& arguments, const VmSessionConfig& config,
                 const EmulatedHost& emulated_host) {
  std::error_code error;
  std::filesystem::create_directories(config.sidecar_dir, error);
  if (error) {
    return Complain(absl::StrCat("cannot make '", config.sidecar_dir, "': ", error.message()),
                    kExitUsage);
  }
  Arguments argv = {std::filesystem::read_symlink("/proc/self/exe", error).string(), "run"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  argv.insert(argv.end(), {"--host", "direct"});
  absl::StatusOr<int> code = emulated_host.run(std::move(argv), {config.sidecar_dir});
  if (!code.ok()) {
    return Complain(absl::StrCat("neither this machine's KVM nor the emulated KVM host can run this: ",
                                 code.status().message()),
                    kExitHostCannot);
  }
  return *code;
}

// 0 to run here, -1 to run in the emulated host, else an exit code.
int ChooseHost(const CommandLine& line, const VmSessionConfig& config,
               const EmulatedHost& emulated_host) {
  const std::string host = line.Get("host", "auto");
  if (host != "auto" && host != "direct" && host != "emulated") {
    return Complain(absl::StrCat("--host is auto, direct or emulated, not '", host, "'"), kExitUsage);
  }
  if (emulated_host.inside()) return 0;
  if (host == "direct") {
    // Asked for, and refused before anything boots where a watch would never fire.
    if (config.debug_plugin != "hw_watch" || config.watches.empty()) return 0;
    const absl::Status delivers = HwWatchDeliversHere();
    return delivers.ok() ? 0 : Complain(delivers.message(), kExitWatchRefused);
  }
  if (host == "auto" && config.debug_plugin != "hw_watch") return 0;
  const absl::Status here =
      host == "auto" ? HwWatchDeliversHere() : absl::UnavailableError("asked for by --host");
  if (here.ok()) return 0;
  if (!config.gdb_socket.empty()) {
    return Complain(
        absl::StrCat("--gdb: a gdb on this machine cannot reach a guest in the emulated KVM host, where this "
                     "run would have to be (", host == "auto"
                         ? "this machine's /dev/kvm does not deliver hardware watchpoints"
                         : "as asked by --host",
                     "). Use --host direct, where watches are not needed, or run both in that host: "
                     "./bazelw run //testing/kvm_host -- sh -c 'watchsnap run … & gdb …'"),
        kExitHostCannot);
  }
  std::fprintf(stderr, "watchsnap: running in the emulated KVM host (%s)\n",
               host == "auto" ? "this machine's /dev/kvm does not deliver hardware watchpoints"
                              : "as asked");
  return -1;
}

std::string Tail(const std::string& text, int lines) {
  size_t at = text.size();
  for (int i = 0; i < lines && at != std::string::npos && at > 0; ++i) {
    at = text.rfind('\n', at - 1);
  }
  return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

int Conclude(const std::string& debug_plugin, const std::vector<std::string>& watches,
             const VmResult& result, bool json) {
  std::FILE* out = json ? stderr : stdout;
  if (!result.reached_hello) {
    std::fprintf(stderr,
                 "watchsnap run: the guest did not get to user space (%s%s%s). Its last words:\n%s\n"
                 "To see an early failure, add --append 'console=ttyS0 earlyprintk=serial'.\n",
                 std::string(RunEndKindName(result.end.kind)).c_str(),
                 result.end.detail.empty() ? "" : ": ", result.end.detail.c_str(),
                 Tail(result.console, 20).c_str());
    return kExitGuestFailed;
  }
  const bool well = result.duration_elapsed || result.end.kind == RunEndKind::kPowerOff ||
                    result.end.kind == RunEndKind::kInterrupted;
  std::fprintf(out, "\nThe run ended: %s%s%s\n",
               result.duration_elapsed ? "its duration passed"
                                       : std::string(RunEndKindName(result.end.kind)).c_str(),
               result.end.detail.empty() || result.duration_elapsed ? "" : ", ",
               result.duration_elapsed ? "" : result.end.detail.c_str());
  if (!well) std::fprintf(stderr, "Last words of the guest:\n%s\n", Tail(result.console, 20).c_str());
  for (const std::string& path : result.sidecars) std::fprintf(out, "Captures: %s\n", path.c_str());
  for (const std::string& text : result.plugin_summary) {
    std::fprintf(out, "%s: %s\n", debug_plugin.c_str(), text.c_str());
  }
  for (const std::string& symbol : watches) {
    auto it = result.watches.find(symbol);
    if (it == result.watches.end()) continue;
    const std::string more = SuppressionText(it->second);
    if (!more.empty()) std::fprintf(out, "%s: %s\n", symbol.c_str(), more.c_str());
  }
  for (const std::string& symbol : watches) {
    auto it = result.watches.find(symbol);
    if (it == result.watches.end()) continue;
    std::fprintf(out, "%s: %s\n", symbol.c_str(), CountersText(it->second).c_str());
  }
  return well ? kExitOk : kExitGuestFailed;
}

int ExitCodeOf(const absl::Status& status) {
  switch (SessionFailureOf(status)) {
    case SessionFailure::kWatchRefused:
      return kExitWatchRefused;
    case SessionFailure::kInput:
      return kExitUsage;
    case SessionFailure::kHost:
      return kExitHostCannot;
  }
  return kExitHostCannot;
}

}  // namespace

int RunCommand(const Arguments& arguments, const EmulatedHost& emulated_host) {
  CommandLine line = RunCommandLine();
  absl::Status status = line.Parse(arguments);
  if (!status.ok()) return Complain(status.message(), kExitUsage);
  if (line.Has("help")) {
    std::fputs(line.Help().c_str(), stdout);
    return kExitOk;
  }
  absl::StatusOr<VmSessionConfig> config = Configure(line);
  if (!config.ok()) return Complain(config.status().message(), kExitUsage);
  if (const int refused = CheckSymbols(*config); refused != kExitOk) return refused;
  const int host = ChooseHost(line, *config, emulated_host);
  if (host == -1) return RunElsewhere(arguments, *config, emulated_host);
  if (host != 0) return host;

  CatchSignals();
  const bool json = line.Has("json");
  if (line.Has("console")) {
    config->console_sink = [](std::string_view text) {
      std::fwrite(text.data(), 1, text.size(), stderr);
    };
  }
  config->on_progress = [](std::string_view text) {
    std::fprintf(stderr, "watchsnap: %.*s\n", static_cast<int>(text.size()), text.data());
  };
  bool header = false;
  config->on_report = [json, &header](const Report& report) {
    if (json) {
      std::string text;
      AppendReportJson(report, text);
      std::puts(text.c_str());
      return;
    }
    if (!std::exchange(header, true)) std::fputs(CaptureTableHeader().c_str(), stdout);
    std::fputs(CaptureTableLine(report).c_str(), stdout);
  };
  std::setvbuf(stdout, nullptr, _IOFBF, 1 << 16);
  config->on_reports_end = [] { std::fflush(stdout); };
  config->keep_reports = false;  // each is printed and written as it comes
  config->interrupt_fd = interrupt_fd;
  std::fprintf(stderr, "watchsnap: booting %s on %d vCPU%s\n",
               (config->kernel_path.empty() ? config->vmlinux_path : config->kernel_path).c_str(),
               config->vcpus, config->vcpus == 1 ? "" : "s");
  const std::string debug_plugin = config->debug_plugin;
  const std::vector<std::string> watches = config->watches;
  absl::StatusOr<VmResult> result = RunVmSession(*std::move(config));
  if (!result.ok()) return Complain(result.status().message(), ExitCodeOf(result.status()));
  return Conclude(debug_plugin, watches, *result, json);
}

}  // namespace watchsnap
