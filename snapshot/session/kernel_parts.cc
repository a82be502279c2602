#include "snapshot/session/kernel_parts.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "debug/kernel/kernel_variables.h"
#include "debug/kernel/per_cpu.h"
#include "debug/memory_reader.h"
#include "snapshot/parts/bpf_maps_part.h"
#include "snapshot/parts/current_task_part.h"
#include "snapshot/parts/scx_part.h"

namespace watchsnap {
namespace {

// The running guest's memory.
class RunningMemory : public MemoryReader {
 public:
  explicit RunningMemory(const KernelView& kernel) : kernel_(kernel) {}
  bool Read(uint64_t kva, absl::Span<uint8_t> out) override {
    return kernel_.Read(kva, out).ok();
  }
  uint64_t Take(uint64_t, uint64_t) override { return 0; }

 private:
  const KernelView& kernel_;
};

// In the place of a part that could not be made.
class MissingPart : public EvidencePart {
 public:
  MissingPart(std::string what, const absl::Status& why)
      : what_(std::move(what)), why_(why.message()) {}
  std::string_view Name() const override { return what_; }
  void Copy(const CaptureContext&, MemoryReader&) override {}
  void Render(const CaptureContext&, MemoryReader&, Report& report) override {
    report.degraded.push_back({what_, why_});
  }

 private:
  const std::string what_;
  const std::string why_;
};

template <typename Part>
void Add(std::vector<std::unique_ptr<EvidencePart>>& parts, std::string what,
         absl::StatusOr<std::unique_ptr<Part>> part) {
  if (part.ok()) {
    parts.push_back(*std::move(part));
  } else {
    parts.push_back(std::make_unique<MissingPart>(std::move(what), part.status()));
  }
}

// Of a return address: the call before it may be the last instruction of its function.
std::string NameOf(const KernelView& kernel, uint64_t address) {
  const std::optional<TextSymbol> symbol = kernel.Symbolize(address - 1);
  if (!symbol.has_value()) return "";
  return absl::StrCat(symbol->name, "+0x", absl::Hex(symbol->offset + 1));
}

}  // namespace

KernelParts MakeKernelParts(std::shared_ptr<const KernelSymbols> symbols, const KernelView& kernel,
                            int vcpus) {
  KernelParts made;
  RunningMemory memory(kernel);
  const absl::StatusOr<PerCpu> per_cpu =
      PerCpu::Create(*symbols, kernel.slide(), memory, vcpus);
  const absl::StatusOr<std::shared_ptr<const TypeGraph>>& types = kernel.types();

  using TaskPart = absl::StatusOr<std::unique_ptr<CurrentTaskPart>>;
  Add(made.parts, "vcpus[].task",
      !per_cpu.ok() ? TaskPart(per_cpu.status())
      : !types.ok() ? TaskPart(types.status())
                    : CurrentTaskPart::Create(*symbols, **types, *per_cpu));

  KernelVariables variables({.symbols = symbols,
                             .slide = kernel.slide(),
                             .types = types.ok() ? *types : nullptr,
                             .dwarf = kernel.dwarf_types().ok() ? kernel.dwarf_types()->get()
                                                                : nullptr});
  // Without the table there are no per-CPU variables; the others are where they are.
  auto part = std::make_unique<VariablesPart>(std::move(variables),
                                              per_cpu.ok() ? *per_cpu : PerCpu({}));
  made.variables = part.get();
  made.parts.push_back(std::move(part));

  using Scx = absl::StatusOr<std::unique_ptr<ScxPart>>;
  Scx scx = !per_cpu.ok() ? Scx(per_cpu.status())
            : !types.ok() ? Scx(types.status())
                          : ScxPart::Create(*symbols, kernel.slide(), **types, *per_cpu,
                                            [&kernel](uint64_t address) {
                                              return NameOf(kernel, address);
                                            });
  if (per_cpu.ok() && types.ok() && absl::IsNotFound(scx.status())) {
    made.scx = scx.status();
  } else {
    Add(made.parts, "scx", std::move(scx));
  }

  // Last: what there is little room for should be what there is most of.
  using MapsPart = absl::StatusOr<std::unique_ptr<BpfMapsPart>>;
  Add(made.parts, "maps",
      !per_cpu.ok() ? MapsPart(per_cpu.status())
      : !types.ok() ? MapsPart(types.status())
                    : BpfMapsPart::Create(*symbols, kernel.slide(), *types, *per_cpu));
  return made;
}

}  // namespace watchsnap
