#include "snapshot/parts/scx_part.h"

#include <string>

namespace watchsnap {

absl::StatusOr<std::unique_ptr<ScxPart>> ScxPart::Create(const KernelSymbols& symbols,
                                                         uint64_t slide, const TypeGraph& types,
                                                         PerCpu per_cpu,
                                                         ScxSymbolizer symbolize) {
  const absl::StatusOr<ScxSymbols> found = ScxSymbols::Find(symbols, slide);
  if (!found.ok()) return found.status();
  ScxSymbols scx = *found;
  if (scx.runqueues != 0) scx.runqueues = per_cpu.SymbolAt(scx.runqueues - slide);
  return std::make_unique<ScxPart>(ScxKernel(types, scx, std::move(per_cpu)),
                                   std::move(symbolize));
}

void ScxPart::Copy(const CaptureContext& /*context*/, MemoryReader& recorder) {
  ScxVisitor nobody;
  scx_.Walk(recorder, nobody);
}

void ScxPart::Render(const CaptureContext& /*context*/, MemoryReader& memory, Report& report) {
  ScxJsonWriter writer(scx_, symbolize_);
  scx_.Walk(memory, writer);
  SetMember(report.more, "scx", writer.TakeJson());
  for (Degraded& entry : writer.degraded()) report.degraded.push_back(std::move(entry));
}

}  // namespace watchsnap
