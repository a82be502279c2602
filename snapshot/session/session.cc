#include "snapshot/session/session.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "debug/kernel/kernel_variables.h"
#include "debug/registry.h"
#include "snapshot/report/json_text.h"
#include "snapshot/session/kernel_parts.h"
#include "snapshot/session/session_failure.h"

namespace watchsnap {
namespace {

constexpr size_t kMaxVariables = 64;  // of one request

constexpr int kEvidenceBuffers = 512;
constexpr size_t kConsoleTail = 4096;
// The console is hvc0: a whole line an exit, where the UART costs an exit a byte. panic=-1 makes a
// panic end the run at once; reboot=a makes it use the ACPI reset register from within the kernel, where
// a kernel with hardware-reduced ACPI and no EFI would go through real mode and forget where it was.
// The self-tests of the kernel's cryptography are a third of a distribution kernel's boot and tell a scenario nothing
// (--append cryptomgr.notests=0 has them back).
constexpr char kCommandLine[] = "console=hvc0 panic=-1 reboot=a cryptomgr.notests";
// atomic_t panic_cpu holds this until a CPU panics (PANIC_CPU_INVALID in include/linux/panic.h).
constexpr uint32_t kPanicCpuInvalid = 0xffff'ffff;

absl::Status Refused(absl::Status status) {
  return MarkSessionFailure(std::move(status), SessionFailure::kWatchRefused);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Create(VmSessionConfig config) {
  auto session = std::unique_ptr<Session>(new Session(std::move(config)));
  absl::Status status = session->Init();
  if (!status.ok()) return status;
  return session;
}

Session::~Session() {
  if (gdb_ != nullptr) gdb_->Stop();
  if (machine_ != nullptr) {
    if (config_.interrupt_fd >= 0) machine_->loop().Unwatch(config_.interrupt_fd);
    machine_->Stop();
  }
  if (renderer_ != nullptr) renderer_->Stop();
}

absl::Status Session::Init() {
  absl::StatusOr<std::shared_ptr<const KernelSymbols>> symbols =
      KernelSymbols::Open(config_.vmlinux_path);
  if (!symbols.ok()) return MarkSessionFailure(symbols.status(), SessionFailure::kInput);
  symbols_ = *std::move(symbols);
  // A typo is told before anything boots.
  for (const std::string& name : config_.watches) {
    absl::Status status = symbols_->ResolveData(name).status();
    if (!status.ok()) return Refused(std::move(status));
  }
  for (const std::string& name : config_.variables) {
    absl::Status status = CheckKernelVariable(*symbols_, name);
    if (!status.ok()) return Refused(std::move(status));
  }
  bridge_ = std::make_shared<SnapshotBridge>(
      [](std::string_view tag) -> absl::StatusOr<Report> {
        return absl::FailedPreconditionError(absl::StrCat(
            "capture '", tag, "': a running machine is captured through its session, not its bridge"));
      });
  bridge_->WithWatchRegister([this](std::string_view symbol) { return ArmSymbol(symbol); });
  return CreateMachine();
}

absl::Status Session::CreateMachine() {
  control_port_ = std::make_shared<ControlPort>();
  StandardDeviceOptions devices;
  devices.console_sink = [this](std::string_view text) { OnConsole(text); };
  devices.uart_sink = devices.console_sink;
  devices.control_port = control_port_;

  MachineConfig machine;
  machine.vcpus = config_.vcpus;
  machine.topology = config_.topology;
  machine.memory_bytes = config_.memory_bytes;
  LinuxBoot boot;
  boot.kernel_path = config_.kernel_path.empty() ? config_.vmlinux_path : config_.kernel_path;
  boot.initrd = std::move(config_.initrd);
  boot.command_line = config_.append.empty() ? kCommandLine
                                             : absl::StrCat(kCommandLine, " ", config_.append);
  machine.boot = std::move(boot);
  machine.devices = StandardDevices(devices);
  machine.observer = &dispatcher_;
  machine.panic_probe = [this] { return GuestPanicked(); };
  absl::StatusOr<std::unique_ptr<Machine>> created = Machine::Create(std::move(machine));
  if (!created.ok()) return created.status();
  machine_ = *std::move(created);

  target_ = std::make_unique<MachineDebugTarget>(machine_.get());
  absl::Status status = CreateDevice();
  if (!status.ok()) return MarkSessionFailure(status, SessionFailure::kInput);
  // As many watches as the plugin has; one entry of the coordinator's table is the exit-kind trigger's.
  bridge_->WithMaxWatches(static_cast<size_t>(
      std::min(device_->Capabilities().user_watches, FreezeCoordinator::kMaxWatches - 1)));
  absl::StatusOr<std::unique_ptr<EvidenceRing>> ring =
      EvidenceRing::Create(config_.evidence_ring_bytes);
  if (!ring.ok()) return ring.status();
  pool_ = std::make_unique<EvidencePool>(kEvidenceBuffers, machine_->vcpu_count(), *std::move(ring));
  coordinator_ = std::make_unique<FreezeCoordinator>(&machine_->barrier(), target_.get(),
                                                     pool_.get(), FreezeCoordinator::Options());
  reports_ = std::make_unique<ReportStore>(config_.sidecar_dir, config_.test_name,
                                           config_.keep_reports ? bridge_ : nullptr,
                                           config_.on_report, config_.on_reports_end);
  renderer_ = std::make_unique<Renderer>(
      coordinator_.get(), pool_.get(),
      [this](absl::Span<RenderedReport> reports) { Keep(reports); });
  failure_dumps_ = std::make_unique<FailureDumps>(
      config_.sidecar_dir, config_.test_name, [this](const Report& dump) {
        bridge_->Store(kExitKindTag, TriggerKind::kExitKind, dump);
        Progress(absl::StrCat("a sched_ext scheduler failed: failure dump ", dump.seq + 1));
      });
  // Of a vCPU's thread, once a watch.
  coordinator_->SetOnSpent([this](int index) {
    events_.Post([this, index] { DisarmSpent(index); });
  });
  HitSink* sink = coordinator_.get();
  dispatcher_.Connect(device_.get(), gdb_ != nullptr ? gdb_->Through(sink) : sink);

  control_ = std::make_unique<ControlServer>(
      [this](absl::Span<const uint8_t> bytes) { return control_port_->Send(bytes); },
      MakeHandlers());
  control_port_->SetReceiver(
      [this](absl::Span<const uint8_t> bytes) { control_->OnBytes(bytes); });
  if (config_.interrupt_fd >= 0) {
    // Level-triggered and never read: watch it once.
    return machine_->loop().Watch(config_.interrupt_fd, EPOLLIN | EPOLLONESHOT, [this](uint32_t) {
      machine_->Interrupt("by a signal");
    });
  }
  return absl::OkStatus();
}

absl::Status Session::CreateDevice() {
  DebugTarget* target = target_.get();
  if (!config_.gdb_socket.empty()) {
    gdb_ = std::make_unique<gdb::GdbLayer>(machine_.get(), target);
    target = &gdb_->target();
  }
  absl::StatusOr<std::unique_ptr<DebugDevice>> device =
      CreateDebugDevice(config_.debug_plugin, *target);
  if (!device.ok()) return device.status();
  device_ = *std::move(device);
  if (gdb_ == nullptr) return absl::OkStatus();
  device_ = gdb_->Share(std::move(device_));
  dispatcher_.SetLayer(&gdb_->layer());
  return gdb_->Listen(config_.gdb_socket, [this](std::string_view text) {
    Progress(absl::StrCat("gdb: ", text));
  });
}

ControlHandlers Session::MakeHandlers() {
  ControlHandlers handlers;
  handlers.on_hello = [this](const Hello& hello) { return OnHello(hello); };
  handlers.on_ready = [this](Responder responder) {
    auto shared = std::make_shared<Responder>(std::move(responder));
    events_.Post([this, shared] { shared->Reply(OnReady()); });
  };
  handlers.on_watch = [this](std::string symbol, const WatchRequestOptions& options,
                             Responder responder) {
    // std::function wants a copyable closure.
    auto shared = std::make_shared<Responder>(std::move(responder));
    events_.Post([this, symbol = std::move(symbol), options, shared] {
      next_options_ = config_.watch_options;
      options.ApplyTo(next_options_);
      absl::Status status = bridge_->RegisterWatch(symbol);
      Progress(status.ok() ? absl::StrCat("watch armed: ", symbol)
                           : absl::StrCat("watch refused: ", status.message()));
      shared->Reply(status);
    });
  };
  const auto capture = [this](TriggerKind kind, std::string tag,
                              std::vector<std::string> variables, Responder responder) {
    auto shared = std::make_shared<Responder>(std::move(responder));
    events_.Post([this, kind, tag = std::move(tag), variables = std::move(variables), shared] {
      absl::Status status = TakeVariables(variables, [&](VariablesPart& part) {
        return part.TakeForTag(tag, variables);
      });
      if (status.ok()) status = reports_->Open(tag);
      if (status.ok()) status = coordinator_->Capture(kind, tag);
      shared->Reply(status);
    });
  };
  handlers.on_capture = [capture](std::string tag, std::vector<std::string> variables,
                                  Responder responder) {
    capture(TriggerKind::kSnapshot, std::move(tag), std::move(variables), std::move(responder));
  };
  handlers.on_periodic_capture = [capture](std::string tag, std::vector<std::string> variables,
                                           Responder responder) {
    capture(TriggerKind::kPeriodic, std::move(tag), std::move(variables), std::move(responder));
  };
  handlers.on_result = [this](const ScenarioResult& result) {
    absl::MutexLock lock(&mutex_);
    scenario_ = GuestScenarioResult{result.passed, result.details, result.workers};
    return absl::OkStatus();
  };
  handlers.on_log = [this](std::string_view text) { Progress(text); };
  handlers.on_bad_frame = [](const BadFrame& bad) {
    LOG_EVERY_N_SEC(WARNING, 1) << "control port: a bad frame from the guest: " << bad.reason;
  };
  return handlers;
}

void Session::Progress(std::string_view text) {
  if (config_.on_progress) config_.on_progress(text);
}

void Session::OnConsole(std::string_view text) {
  {
    absl::MutexLock lock(&mutex_);
    console_.append(text);
  }
  if (config_.console_sink) config_.console_sink(text);
}

absl::StatusOr<HelloReply> Session::OnHello(const Hello& hello) {
  absl::Status status = IdentifyKernel(hello);
  {
    absl::MutexLock lock(&mutex_);
    hello_ = true;
    kernel_status_ = status;
  }
  events_.Post([] {});  // the boot deadline no longer holds
  HelloReply reply;
  reply.hold_ms = config_.duration == absl::InfiniteDuration()
                      ? 0
                      : static_cast<uint64_t>(absl::ToInt64Milliseconds(config_.duration));
  reply.parameters = config_.guest_parameters;
  return reply;
}

absl::Status Session::IdentifyKernel(const Hello& hello) {
  {
    // A second HELLO changes nothing: captures are read with what was found at the first.
    absl::MutexLock lock(&mutex_);
    if (kernel_ != nullptr) return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<KernelView>> kernel = KernelView::Create(symbols_, *machine_);
  if (!kernel.ok()) return kernel.status();
  absl::StatusOr<GuestClock> clock = MeasureClock(hello);
  if (!clock.ok()) return clock.status();
  renderer_->SetGuest(kernel->get(), *clock);
  if ((*kernel)->stacks_status().ok()) coordinator_->SetStackSource(kernel->get());
  KernelParts parts = MakeKernelParts(symbols_, **kernel, config_.vcpus);
  parts_.memory = kernel->get();
  parts_.parts = std::move(parts.parts);
  if (!parts.scx.ok()) Progress(parts.scx.message());
  coordinator_->SetParts(&parts_);
  target_->SetFunctionNames([symbols = symbols_, slide = (*kernel)->slide()](uint64_t pc) {
    const std::optional<TextSymbol> symbol = symbols->Symbolize(pc - slide);
    return symbol.has_value() ? std::string(symbol->name) : "";
  });
  Progress(absl::StrFormat("guest is up after %.1f s; KASLR slide %#x (by %s), build ID %s",
                           absl::ToDoubleSeconds(absl::Now() - machine_->start_time()),
                           (*kernel)->slide(), (*kernel)->slide_source(),
                           absl::BytesToHexString(symbols_->build_id())));
  if (gdb_ != nullptr && (*kernel)->slide() != 0) {
    Progress(absl::StrFormat("gdb: the kernel's symbols in gdb: symbol-file -o %#x %s",
                             (*kernel)->slide(), config_.vmlinux_path));
  }
  absl::MutexLock lock(&mutex_);
  kernel_ = *std::move(kernel);
  variables_ = parts.variables;
  return absl::OkStatus();
}

absl::Status Session::TakeVariables(absl::Span<const std::string> names,
                                    absl::FunctionRef<absl::Status(VariablesPart&)> take) {
  if (names.empty()) return absl::OkStatus();
  // Each may cost a search through the kernel's debug information.
  if (names.size() > kMaxVariables) {
    return absl::InvalidArgumentError(absl::StrCat("at most ", kMaxVariables,
                                                   " variables can be named at once, not ",
                                                   names.size()));
  }
  VariablesPart* part = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    if (!kernel_status_.ok()) return kernel_status_;
    part = variables_;
  }
  return take(*part);
}

absl::StatusOr<GuestClock> Session::MeasureClock(const Hello& hello) {
  GuestClock clock;
  clock.hello_counter = hello.guest_tsc;
  clock.hello_ns = hello.guest_monotonic_ns;
  absl::Status status = machine_->RunOnVcpu(0, [&clock](Vcpu& vcpu) {
    const int khz = ioctl(vcpu.fd(), KVM_GET_TSC_KHZ, 0);
    if (khz > 0) clock.khz = static_cast<uint64_t>(khz);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return clock;
}

void Session::ArmExitKindTrigger() {
  const auto absent = [this](const absl::Status& why) {
    exit_kind_state_ = absl::StrCat("not armed: ", why.message());
    Progress(absl::StrCat("exit-kind trigger ", exit_kind_state_));
  };
  const KernelView* kernel = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    if (kernel_ == nullptr) return absent(kernel_status_);
    kernel = kernel_.get();
  }
  if (!kernel->types().ok()) return absent(kernel->types().status());
  const absl::StatusOr<ExitKindLayout> layout = FindExitKindLayout(
      **kernel->types(), [kernel](std::string_view name) { return kernel->AddressOf(name); });
  if (!layout.ok()) return absent(layout.status());
  exit_kind_ = std::make_unique<ExitKindTrigger>(*layout, device_.get(), kernel);
  const WatchSpec spec = exit_kind_->FirstWatch();
  const absl::StatusOr<int> index = coordinator_->Add({.symbol = "exit_kind",
                                                       .address = spec.address,
                                                       .watched_bytes = 4,
                                                       .symbol_bytes = 4,
                                                       .reserved_slot = true,
                                                       .rule = exit_kind_.get()},
                                                      WatchOptions::Unlimited());
  if (!index.ok()) return absent(index.status());
  exit_kind_watch_ = *index;
  absl::Status status =
      exit_kind_->Arm([this](std::function<absl::Status()> task) {
        return target_->WhileFrozen(std::move(task));
      });
  if (!status.ok()) {
    coordinator_->Remove(*index);
    return absent(status);
  }
  exit_kind_state_ = absl::StrCat("armed on ", spec.tag);
  Progress(absl::StrCat("exit-kind trigger ", exit_kind_state_));
}

absl::Status Session::OnReady() {
  ArmExitKindTrigger();
  next_options_ = config_.watch_options;
  absl::Status variables = TakeVariables(
      config_.variables, [this](VariablesPart& part) { return part.TakeAlways(config_.variables); });
  if (!variables.ok()) {
    refused_ = variables;
    ended_ = true;
    return variables;
  }
  for (const std::string& symbol : config_.watches) {
    absl::Status status = bridge_->RegisterWatch(symbol);
    if (!status.ok()) {
      refused_ = status;
      ended_ = true;
      return status;
    }
    Progress(absl::StrCat("watch armed: ", symbol));
  }
  absl::MutexLock lock(&mutex_);
  go_time_ = absl::Now();
  return absl::OkStatus();
}

absl::Status Session::ArmSymbol(std::string_view name) {
  absl::StatusOr<DataSymbol> symbol = symbols_->ResolveData(name);
  if (!symbol.ok()) return symbol.status();
  uint64_t slide = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (!kernel_status_.ok()) return kernel_status_;
    slide = kernel_->slide();
  }
  WatchSpec spec;
  spec.address = symbol->address + slide;
  spec.length = static_cast<uint32_t>(WatchLength(*symbol));
  spec.tag = std::string(name);
  absl::Status status = reports_->Open(name);
  if (!status.ok()) return status;
  absl::StatusOr<int> index =
      coordinator_->Add({.symbol = spec.tag,
                         .address = spec.address,
                         .watched_bytes = spec.length,
                         .symbol_bytes = symbol->size},
                        next_options_);
  if (!index.ok()) return index.status();
  std::vector<std::string> variables = {spec.tag};
  variables.insert(variables.end(), next_options_.variables.begin(),
                   next_options_.variables.end());
  status = TakeVariables(variables, [&](VariablesPart& part) {
    return part.TakeForWatch(*index, variables);
  });
  if (status.ok()) {
    absl::StatusOr<WatchId> watch = device_->Arm(spec);
    status = watch.status();
    if (watch.ok()) armed_[*index] = *watch;
  }
  if (!status.ok()) {
    coordinator_->Remove(*index);
    return status;
  }
  absl::MutexLock lock(&mutex_);
  watch_index_[spec.tag] = *index;
  return absl::OkStatus();
}

void Session::DisarmSpent(int index) {
  auto it = armed_.find(index);
  if (it == armed_.end()) return;
  const std::string& symbol = coordinator_->description(index).symbol;
  absl::Status status = device_->Disarm(it->second);
  armed_.erase(it);
  if (status.ok()) coordinator_->CountDisarmed(index);
  Progress(status.ok() ? absl::StrCat("watch disarmed, its budget of captures is used up: ", symbol)
                       : absl::StrCat("disarming ", symbol, " failed: ", status.message()));
}

bool Session::GuestPanicked() {
  absl::MutexLock lock(&mutex_);
  // Before the kernel was identified there is only its word for it.
  if (kernel_ == nullptr) return absl::StrContains(console_, "Kernel panic - not syncing");
  absl::StatusOr<uint32_t> cpu = kernel_->ReadU32("panic_cpu");
  return cpu.ok() && *cpu != kPanicCpuInvalid;
}

void Session::WaitForEnd(VmResult& result) {
  // The machine's end arrives as an event like all others.
  std::thread watcher([this] {
    (void)machine_->Wait(absl::InfiniteFuture());
    events_.Post([this] { ended_ = true; });
  });
  const absl::Time boot_deadline = machine_->start_time() + config_.boot_timeout;
  while (!ended_) {
    absl::Time deadline = boot_deadline;
    bool running = false;
    {
      absl::MutexLock lock(&mutex_);
      if (hello_) deadline = absl::InfiniteFuture();
      if (go_time_ != absl::InfiniteFuture()) {
        deadline = go_time_ + config_.duration;
        running = true;
      }
    }
    if (events_.RunOne(deadline)) continue;
    result.duration_elapsed = running;
    break;
  }
  result.end = machine_->Wait(absl::Now());
  CaptureFinal(result);
  machine_->Interrupt("the session is over");  // lets the watcher go
  watcher.join();
}

void Session::CaptureFinal(const VmResult& result) {
  const RunEnd& end = result.end;
  if (end.kind == RunEndKind::kPowerOff || end.kind == RunEndKind::kReset) return;
  if (result.duration_elapsed && !config_.duration_is_deadline) return;
  if (!refused_.ok()) return;
  {
    absl::MutexLock lock(&mutex_);
    end_in_words_ = end.detail.empty() ? std::string(RunEndKindName(end.kind))
                                       : absl::StrCat(RunEndKindName(end.kind), ": ", end.detail);
  }
  absl::Status status = reports_->Open(kFinalTag);
  if (status.ok()) status = coordinator_->Capture(TriggerKind::kFinal, kFinalTag);
  if (!status.ok()) LOG(ERROR) << "no final capture: " << status;
}

void Session::Keep(absl::Span<RenderedReport> rendered) {
  std::vector<Report> reports;
  std::vector<absl::Status*> kept;
  for (RenderedReport& one : rendered) {
    Report& report = one.report;
    if (one.watch >= 0 && one.watch == exit_kind_watch_) {
      const uint64_t kind = report.trigger.new_value.value_or(0);
      report.tag = kExitKindTag;
      one.kept = failure_dumps_->OnExitKind(std::move(report), exit_kind_->IsError(kind),
                                            exit_kind_->IsDone(kind));
      continue;
    }
    if (report.trigger.kind == TriggerKind::kFinal) AddLastWords(report);
    reports.push_back(std::move(report));
    kept.push_back(&one.kept);
  }
  const std::vector<absl::Status> statuses = reports_->AddAll(std::move(reports));
  for (size_t i = 0; i < statuses.size(); ++i) *kept[i] = statuses[i];
}

void Session::AddLastWords(Report& report) {
  absl::MutexLock lock(&mutex_);
  std::string text;
  AppendJsonString(text, end_in_words_);
  SetMember(report.trigger.more, "end", std::move(text));
  text.clear();
  const size_t begin = console_.size() - std::min(console_.size(), kConsoleTail);
  AppendJsonString(text, std::string_view(console_).substr(begin));
  SetMember(report.more, "console_tail", std::move(text));
}

void Session::Finish(VmResult& result) {
  if (gdb_ != nullptr) gdb_->Stop();
  machine_->Stop();
  // Nobody answers these any more: their responders refuse.
  while (events_.RunOne(absl::Now())) {
  }
  renderer_->Stop();
  absl::Status dumps = failure_dumps_->Finish("the run ended");
  if (!dumps.ok()) LOG(ERROR) << "failure dump: " << dumps;
  result.failure_dumps = failure_dumps_->paths();
  result.exit_kind_trigger = exit_kind_state_;
  absl::MutexLock lock(&mutex_);
  for (const auto& [symbol, index] : watch_index_) {
    result.watches[symbol] = coordinator_->counters(index);
    bridge_->SetCounters(symbol, result.watches[symbol]);
  }
  absl::Status status = reports_->Finish(result.watches);
  if (!status.ok()) LOG(ERROR) << "sidecars: " << status;
  result.reached_hello = hello_;
  result.scenario = scenario_;
  result.control = control_->counters();
  result.console = std::move(console_);
  result.sidecars = reports_->sidecar_paths();
  result.snapshot_bridge = bridge_;
  result.plugin_summary = device_->Summary();
  result.kernel_build_id = absl::BytesToHexString(symbols_->build_id());
  if (kernel_ != nullptr) result.kaslr_slide = kernel_->slide();
}

absl::StatusOr<VmResult> Session::Run() {
  VmResult result;
  absl::Status status = machine_->Start();
  if (!status.ok()) return status;
  if (gdb_ != nullptr) {
    gdb_->Start();
    // Of a bzImage the slide is not known yet; IdentifyKernel tells it.
    std::string command = absl::StrCat("gdb -ex 'target remote ", config_.gdb_socket, "'");
    if (config_.kernel_path.empty()) absl::StrAppend(&command, " ", config_.vmlinux_path);
    Progress(absl::StrCat("gdb can attach at any time: ", command));
  }
  WaitForEnd(result);
  Finish(result);
  if (!refused_.ok()) return Refused(refused_);
  return result;
}

}  // namespace watchsnap
