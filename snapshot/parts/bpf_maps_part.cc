#include "snapshot/parts/bpf_maps_part.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "debug/types/btf_reader.h"
#include "snapshot/parts/bpf_map_renderer.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

// Takes the values of maps along.
class ValueTaker : public BpfVisitor {
 public:
  ValueTaker(MemoryReader& recorder, const TaskReader& tasks)
      : recorder_(recorder), tasks_(tasks) {}
  void Begin(const BpfMap& map) { map_ = &map; }

  void Array(uint64_t kva, uint64_t, uint64_t, uint64_t bytes) override {
    recorder_.Take(kva, bytes);
  }
  void Entry(const BpfEntry& entry) override {
    if (entry.owner != 0) (void)tasks_.ReadName(recorder_, entry.owner);
    if (!entry.value.empty()) return;  // read already, and so recorded
    for (const uint64_t kva : entry.values) recorder_.Take(kva, map_->value_size);
  }

 private:
  MemoryReader& recorder_;
  const TaskReader& tasks_;
  const BpfMap* map_ = nullptr;
};

// The kernel's own types, which need not be copied.
bool IsVmlinux(const BpfBtf& btf) { return btf.is_kernel && btf.base == 0; }

}  // namespace

absl::StatusOr<std::unique_ptr<BpfMapsPart>> BpfMapsPart::Create(
    const KernelSymbols& symbols, uint64_t slide, std::shared_ptr<const TypeGraph> types,
    PerCpu per_cpu, const BpfLimits& limits) {
  const absl::StatusOr<uint64_t> map_idr = symbols.AddressOf("map_idr");
  if (!map_idr.ok()) return map_idr.status();
  return std::make_unique<BpfMapsPart>(std::move(types), *map_idr + slide, std::move(per_cpu),
                                       limits);
}

BpfMapsPart::BpfMapsPart(std::shared_ptr<const TypeGraph> types, uint64_t map_idr, PerCpu per_cpu,
                         const BpfLimits& limits)
    : kernel_types_(std::move(types)),
      maps_(*kernel_types_, map_idr, per_cpu),
      tasks_(*kernel_types_),
      limits_(limits),
      copy_space_(per_cpu.cpus()),
      render_space_(per_cpu.cpus()) {}

void BpfMapsPart::TakeTypes(uint64_t address, MemoryReader& recorder) const {
  BpfBtf btf;
  if (address == 0 || !maps_.ReadBtf(recorder, address, btf) || IsVmlinux(btf)) return;
  if (BpfBtf base; btf.base != 0) (void)maps_.ReadBtf(recorder, btf.base, base);
  if (!btf_.Has(btf)) recorder.Take(btf.data, std::min<uint64_t>(btf.bytes, limits_.max_btf_bytes));
}

void BpfMapsPart::Copy(const CaptureContext& /*context*/, MemoryReader& recorder) {
  BpfBudget budget(limits_);
  ValueTaker taker(recorder, tasks_);
  // A program's maps follow one another and share its types.
  uint64_t last_btf = 0;
  maps_.ForEach(recorder, limits_, [&](const BpfMap& map) {
    if (map.btf != last_btf) TakeTypes(map.btf, recorder);
    last_btf = map.btf;
    taker.Begin(map);
    maps_.Visit(map, recorder, budget, copy_space_, taker);
  });
}

std::shared_ptr<const TypeGraph> BpfMapsPart::TypesOf(const BpfMap& map, MemoryReader& memory,
                                                      std::string& why) {
  if (map.btf == 0) return nullptr;
  BpfBtf btf;
  if (!maps_.ReadBtf(memory, map.btf, btf)) {
    why = "its struct btf is not in the evidence";
    return nullptr;
  }
  if (IsVmlinux(btf)) return kernel_types_;
  const BpfBtfCache::Types* types = btf_.Find(btf);
  BpfBtfCache::Types read = std::shared_ptr<const TypeGraph>();
  if (types == nullptr) {
    if (btf.bytes > limits_.max_btf_bytes) {
      why = absl::StrCat("its types have ", btf.bytes, " bytes, more than the limit of ",
                         limits_.max_btf_bytes);
      return nullptr;
    }
    BpfBtf base;
    if (btf.base != 0 && (!maps_.ReadBtf(memory, btf.base, base) || !IsVmlinux(base))) {
      why = "its types continue others than the kernel's";
      return nullptr;
    }
    // The size is the guest's word: make room for what was copied only.
    const uint64_t copied = memory.Take(btf.data, btf.bytes);
    std::vector<uint8_t> bytes(copied);
    if (copied != btf.bytes || copied == 0 || !memory.Read(btf.data, absl::MakeSpan(bytes))) {
      why = absl::StrCat("of the ", btf.bytes, " bytes of its types ", copied,
                         " are in the evidence");
      return nullptr;
    }
    read = ReadBtf(std::move(bytes), {.name = absl::StrCat("the guest's BTF ", btf.id),
                                      .base = btf.base != 0 ? kernel_types_ : nullptr});
    btf_.Add(btf, read);
    types = &read;
  }
  if (!types->ok()) {
    why = std::string(types->status().message());
    return nullptr;
  }
  return **types;
}

void BpfMapsPart::Render(const CaptureContext& /*context*/, MemoryReader& memory, Report& report) {
  BpfBudget budget(limits_);
  std::string json;
  JsonObject maps(json);
  std::set<std::string> names;
  const BpfMaps::Found found = maps_.ForEach(memory, limits_, [&](const BpfMap& map) {
    std::string name(map.name());
    if (name.empty() || names.contains(name)) absl::StrAppend(&name, "#", map.id);
    while (!names.insert(name).second) name += '#';
    const std::string path = absl::StrCat("maps[\"", name, "\"]");
    std::string why_no_types;
    BpfMapRenderer renderer(map, TypesOf(map, memory, why_no_types), kernel_types_, tasks_, memory,
                            path, report.degraded);
    if (!why_no_types.empty()) {
      report.degraded.push_back({path, absl::StrCat("raw bytes only: ", why_no_types)});
    }
    const BpfContents contents = maps_.Visit(map, memory, budget, render_space_, renderer);
    renderer.Append(contents, maps.Key(name));
  });
  maps.Close();
  SetMember(report.more, "maps", std::move(json));
  if (found.unreadable) {
    report.degraded.push_back({"maps", "map_idr is not in the evidence, or this kernel's types do "
                                       "not say how to read it"});
  }
  if (found.limited) {
    report.degraded.push_back({"maps", absl::StrCat("there are more than ", limits_.max_maps)});
  }
  if (found.damaged != 0) {
    report.degraded.push_back(
        {"maps", absl::StrCat(found.damaged, " entries of map_idr could not be read")});
  }
}

}  // namespace watchsnap
