#include "snapshot/capture/renderer.h"

#include <pthread.h>

#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "snapshot/evidence/captured_memory.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

constexpr size_t kMaxCachedWriters = 4096;
// Reports in memory at once: they are handed over at the latest now.
constexpr size_t kMaxBatch = 16;

}  // namespace

Renderer::Renderer(FreezeCoordinator* coordinator, EvidencePool* pool, Output output)
    : coordinator_(coordinator), pool_(pool), output_(std::move(output)) {
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "renderer");
}

Renderer::~Renderer() { Stop(); }

void Renderer::SetGuest(const GuestView* guest, const GuestClock& clock) {
  absl::MutexLock lock(&mutex_);
  guest_ = guest;
  clock_ = clock;
}

void Renderer::Stop() {
  if (!thread_.joinable()) return;
  pool_->Close();
  thread_.join();
}

void Renderer::Run() {
  for (;;) {
    CaptureEvidence* evidence = pool_->TakeReady();
    if (evidence == nullptr || batch_.size() >= kMaxBatch) HandOver();
    if (evidence == nullptr) evidence = pool_->Take();
    if (evidence == nullptr) return;
    {
      absl::MutexLock lock(&mutex_);
      view_ = guest_;
      guest_clock_ = clock_;
    }
    Render(*evidence);
    pool_->Rendered(evidence);
  }
}

void Renderer::HandOver() {
  if (batch_.empty()) return;
  output_(absl::MakeSpan(batch_));
  for (const RenderedReport& rendered : batch_) {
    const int watch = rendered.watch;
    if (watch >= 0 && rendered.kept.ok()) {
      coordinator_->CountCaptured(watch);
    } else if (watch >= 0) {
      coordinator_->CountLost(watch);
    }
    if (rendered.kept.ok()) continue;
    LOG(ERROR) << "a capture"
               << (watch >= 0 ? absl::StrCat(" of ", coordinator_->description(watch).symbol) : "")
               << " was lost: " << rendered.kept;
  }
  batch_.clear();
}

void Renderer::Render(const CaptureEvidence& evidence) {
  Report common = RenderCommon(evidence, freezes_++);
  if (evidence.kind != TriggerKind::kWatch) {
    common.tag = evidence.tag;
    batch_.push_back({.watch = -1, .report = std::move(common), .kept = absl::OkStatus()});
    return;
  }
  int last = evidence.hit_count - 1;
  while (last >= 0 && !evidence.hits[last].capture) --last;
  for (int i = 0; i <= last; ++i) {
    const HitEvidence& hit = evidence.hits[i];
    if (!hit.capture) continue;
    batch_.push_back({.watch = hit.watch, .report = {}, .kept = absl::OkStatus()});
    Report& report = batch_.back().report;
    report = i == last ? std::move(common) : common;
    if (hit.rule != nullptr) report.trigger.kind = TriggerKind::kExitKind;
    RenderHit(evidence, hit, report);
  }
}

Report Renderer::RenderCommon(const CaptureEvidence& evidence, uint64_t freeze) {
  Report report;
  report.trigger.kind = evidence.kind;
  report.trigger.freeze = freeze;
  report.trigger.guest_time_ns = guest_clock_.At(evidence.guest_counter);
  report.trigger.host_time_ns = static_cast<uint64_t>(evidence.start_ns);
  if (!report.trigger.guest_time_ns.has_value()) {
    report.degraded.push_back({"guest_time_ns", "the guest has not told its clock (no HELLO yet)"});
  }
  report.cost.freeze_ns = static_cast<uint64_t>(evidence.frozen_ns - evidence.start_ns);
  report.cost.evidence_ns = static_cast<uint64_t>(evidence.evidence_ns - evidence.frozen_ns);
  report.cost.thaw_ns = static_cast<uint64_t>(evidence.thawed_ns - evidence.evidence_ns);
  report.cost.pause_ns = static_cast<uint64_t>(evidence.thawed_ns - evidence.start_ns);
  report.cost.hidden_ns = evidence.hidden_ns;
  if (const std::string_view why = coordinator_->why_time_is_not_hidden(); !why.empty()) {
    report.degraded.push_back({"guest time", std::string(why)});
  }
  report.vcpus.resize(evidence.registers.size());
  for (size_t i = 0; i < evidence.registers.size(); ++i) {
    VcpuReport& vcpu = report.vcpus[i];
    const VcpuRegisters& registers = evidence.registers[i];
    vcpu.index = static_cast<int>(i);
    vcpu.registers.reserve(32);
    registers.ForEach([&vcpu](const char* name, uint64_t value) {
      vcpu.registers.push_back({name, value});
    });
    if (view_ == nullptr || registers.user_mode()) continue;
    AddStack(evidence, i, report);
    std::optional<TextSymbol> symbol = view_->Symbolize(registers.pc());
    if (!symbol.has_value()) continue;
    vcpu.symbol = std::string(symbol->name);
    vcpu.offset = symbol->offset;
  }
  if (view_ == nullptr) {
    report.degraded.push_back({"symbols", "the kernel was not identified yet"});
  }
  AddParts(evidence, report);
  return report;
}

void Renderer::AddParts(const CaptureEvidence& evidence, Report& report) {
  if (evidence.parts == nullptr) return;
  report.cost.evidence_bytes = evidence.block.size;
  if (evidence.refused_bytes != 0) {
    report.degraded.push_back(
        {"evidence", absl::StrCat(evidence.refused_bytes,
                                  " bytes were not copied: the evidence ring of ",
                                  pool_->ring()->capacity(), " bytes had no room for them")});
  }
  CapturedMemory memory(pool_->ring()->Bytes(evidence.block));
  const CaptureContext context = evidence.Context();
  for (const auto& part : evidence.parts->parts) part->Render(context, memory, report);
}

void Renderer::AddStack(const CaptureEvidence& evidence, size_t index, Report& report) {
  const absl::StatusOr<RenderedStack> stack =
      view_->Stack(evidence.registers[index], evidence.stacks[index]);
  if (!stack.ok()) {
    report.degraded.push_back({absl::StrCat("vcpus[", index, "].stack"), std::string(stack.status().message())});
    return;
  }
  VcpuReport& vcpu = report.vcpus[index];
  SetMember(vcpu.more, "stack", stack->json);
  SetMember(vcpu.more, "stack_end", absl::StrCat("\"", stack->end, "\""));
  if (!stack->whole) {
    report.degraded.push_back({absl::StrCat("vcpus[", index, "].stack"), stack->why_cut});
  }
}

void Renderer::RenderHit(const CaptureEvidence& evidence, const HitEvidence& hit, Report& report) {
  const WatchDescription& watch = coordinator_->description(hit.watch);
  report.tag = watch.symbol;
  Trigger& trigger = report.trigger;
  trigger.symbol = watch.symbol;
  trigger.address = hit.hit.address;
  if (hit.hit.slot >= 0) trigger.slot = hit.hit.slot;
  trigger.vcpu = hit.hit.vcpu;
  trigger.watched_bytes = watch.watched_bytes;
  trigger.symbol_bytes = static_cast<uint32_t>(watch.symbol_bytes);
  if (hit.hit.values_known) {
    trigger.old_value = hit.hit.old_value;
    trigger.new_value = hit.hit.new_value;
  } else {
    report.degraded.push_back({"old, new", "the watched bytes could not be read at the hit"});
  }
  if (evidence.hit_count > 1) {
    SetMember(trigger.more, "sharing_freeze", absl::StrCat(evidence.hit_count));
  }
  if (const std::string* stack = FindMember(report.vcpus[hit.hit.vcpu].more, "stack");
      stack != nullptr) {
    SetMember(trigger.more, "stack", *stack);
  }
  const uint64_t key = hit.hit.next_pc ^ (static_cast<uint64_t>(hit.watch) << 56);
  auto it = writers_.find(key);
  if (it == writers_.end()) {
    if (writers_.size() >= kMaxCachedWriters) writers_.clear();
    it = writers_.emplace(key, FindWriterLocation(hit)).first;
  }
  trigger.writer = it->second;
  if (!trigger.writer->address.has_value()) {
    report.degraded.push_back(
        {"writer", "the store itself was not found by decoding; only the next address is known"});
  }
}

CodeLocation Renderer::FindWriterLocation(const HitEvidence& hit) {
  CodeLocation location;
  if (hit.hit.writer_pc != 0) location.address = hit.hit.writer_pc;
  if (view_ == nullptr) {
    location.next_address = hit.hit.next_pc;
    return location;
  }
  // The store may be the last instruction of its function: look at the byte before.
  std::optional<TextSymbol> symbol = view_->Symbolize(hit.hit.next_pc - 1);
  if (!symbol.has_value()) symbol = view_->Symbolize(hit.hit.next_pc);
  if (!location.address.has_value()) {
    WriterTrap trap;
    trap.next_pc = hit.hit.next_pc;
    if (symbol.has_value()) trap.function_start = symbol->address;
    trap.watched_address = hit.hit.address;
    trap.watched_length = hit.hit.length;
    const WriterInstruction writer =
        FindWriter(trap, [this](uint64_t kva, absl::Span<uint8_t> out) {
          return view_->Read(kva, out);
        });
    if (writer.confidence == WriterConfidence::kUnknown) {
      location.next_address = writer.next_address;
    } else {
      location.address = writer.address;
      if (writer.confidence == WriterConfidence::kApproximate) {
        SetMember(location.more, "approximate", "true");
      }
    }
  }
  const uint64_t at = location.address.value_or(hit.hit.next_pc);
  if (location.address.has_value()) symbol = view_->Symbolize(at);
  if (symbol.has_value()) {
    location.symbol = std::string(symbol->name);
    location.offset = at - symbol->address;
  }
  // Of the next address the byte before: the store may be the last instruction of its line.
  AddSourceLines(location.address.has_value() ? at : at - 1, location);
  return location;
}

void Renderer::AddSourceLines(uint64_t address, CodeLocation& location) {
  absl::StatusOr<std::vector<SourceFrame>> frames = view_->Lines(address);
  if (!frames.ok()) return;
  location.file = frames->front().KernelPath();
  if (frames->front().line != 0) location.line = frames->front().line;
  if (frames->size() == 1) return;
  std::string inlined = "[";
  for (const SourceFrame& frame : *frames) {
    if (inlined.size() > 1) inlined += ',';
    JsonObject object(inlined);
    object.String("function", frame.function).String("file", frame.KernelPath());
    object.Uint("line", frame.line);
    object.Close();
  }
  inlined += ']';
  SetMember(location.more, "inlined", std::move(inlined));
}

}  // namespace watchsnap
