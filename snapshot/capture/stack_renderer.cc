#include "snapshot/capture/stack_renderer.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

constexpr size_t kMaxCachedFrames = 8192;

}  // namespace

absl::StatusOr<std::unique_ptr<StackRenderer>> StackRenderer::Create(
    std::shared_ptr<const KernelSymbols> symbols, uint64_t slide) {
  absl::StatusOr<std::shared_ptr<const StackUnwinder>> unwinder = StackUnwinder::Create(symbols);
  if (!unwinder.ok()) return unwinder.status();
  return std::unique_ptr<StackRenderer>(
      new StackRenderer(std::move(symbols), slide, *std::move(unwinder)));
}

RenderedStack StackRenderer::Render(const VcpuRegisters& registers, const StackCopy& copy) {
  UnwindInput input;
  input.registers = UnwindRegisters::From(registers);
  input.slide = slide_;
  const UnwoundStack stack =
      unwinder_->Unwind(input, [&copy](uint64_t kva, absl::Span<uint8_t> out) {
        return copy.Read(kva, out);
      });
  RenderedStack rendered;
  rendered.json = "[";
  for (const StackFrame& frame : stack.frames) {
    if (rendered.json.size() > 1) rendered.json += ',';
    rendered.json += FrameJson(frame);
  }
  rendered.json += ']';
  rendered.end = std::string(StackEndName(stack.end));
  rendered.whole = IsWhole(stack.end);
  if (!rendered.whole) {
    rendered.why_cut = stack.detail.empty() ? rendered.end : absl::StrCat(rendered.end, ": ", stack.detail);
  }
  return rendered;
}

const std::string& StackRenderer::FrameJson(const StackFrame& frame) {
  // Kernel addresses have their top bits set: they have room for the kind.
  const uint64_t key = frame.pc ^ (static_cast<uint64_t>(frame.kind) << 60);
  auto it = frames_.find(key);
  if (it != frames_.end()) return it->second;
  if (frames_.size() >= kMaxCachedFrames) frames_.clear();
  std::string json;
  JsonObject object(json);
  object.Hex("address", frame.pc);
  const std::optional<TextSymbol> symbol = symbols_->Symbolize(frame.lookup_pc() - slide_);
  if (symbol.has_value()) {
    object.String("symbol", symbol->name).Uint("offset", frame.pc - slide_ - symbol->address);
  }
  if (frame.kind == FrameKind::kInterrupted) object.Raw("interrupted", "true");
  object.Close();
  return frames_.emplace(key, std::move(json)).first->second;
}

}  // namespace watchsnap
