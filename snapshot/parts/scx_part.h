// ScxPart: the state of sched_ext, as the report's `scx` (schema.md). Without a scheduler it is
// {"state":"disabled"}, and costs two reads of the guest.
//
// Threads and errors: as of every EvidencePart; immutable. A member that the kernel lacks degrades that
// member alone. Ownership: `symbolize` is called on the renderer's thread, as long as the part lives.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_SCX_PART_H_
#define WATCHSNAP_SNAPSHOT_PARTS_SCX_PART_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "debug/kernel/per_cpu.h"
#include "debug/kernel/scx/scx_symbols.h"
#include "debug/kernel/scx/scx_walk.h"
#include "debug/symbols/kernel_symbols.h"
#include "debug/types/type_graph.h"
#include "snapshot/evidence/evidence_part.h"
#include "snapshot/parts/scx_json.h"

namespace watchsnap {

class ScxPart : public EvidencePart {
 public:
  // NotFound("the kernel has no sched_ext"), to be said once.
  static absl::StatusOr<std::unique_ptr<ScxPart>> Create(const KernelSymbols& symbols,
                                                         uint64_t slide, const TypeGraph& types,
                                                         PerCpu per_cpu, ScxSymbolizer symbolize);
  ScxPart(ScxKernel scx, ScxSymbolizer symbolize)
      : scx_(std::move(scx)), symbolize_(std::move(symbolize)) {}

  std::string_view Name() const override { return "scx"; }
  void Copy(const CaptureContext& context, MemoryReader& recorder) override;
  void Render(const CaptureContext& context, MemoryReader& memory, Report& report) override;

 private:
  const ScxKernel scx_;
  const ScxSymbolizer symbolize_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_SCX_PART_H_
