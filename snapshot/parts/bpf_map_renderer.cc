#include "snapshot/parts/bpf_map_renderer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "snapshot/parts/raw_value.h"
#include "snapshot/parts/task_json.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

constexpr size_t kMaxText = 8 << 20;  // of one map
constexpr size_t kMaxLacks = 16;      // entries in `degraded` of one map, besides those on the whole
constexpr RenderLimits kValueLimits = {.max_elements = 4096, .max_degraded = 4};
constexpr uint32_t kTaskStorage = 29;  // BPF_MAP_TYPE_TASK_STORAGE

// Why the walk ended before the map did.
std::string WhyCut(const BpfContents& contents) {
  const std::string seen =
      contents.total == 0
          ? absl::StrCat("the first ", contents.entries, " entries are there")
          : absl::StrCat(contents.entries, " of ", contents.total, " entries are there");
  switch (contents.cut) {
    case BpfContents::Cut::kNo: return "";
    case BpfContents::Cut::kEntries: return absl::StrCat(seen, ": the limit of entries of one map");
    case BpfContents::Cut::kMapBytes: return absl::StrCat(seen, ": the limit of bytes of one map");
    case BpfContents::Cut::kTotalBytes: return absl::StrCat(seen, ": the limit of bytes of all maps");
  }
  return seen;
}

}  // namespace

BpfMapRenderer::BpfMapRenderer(const BpfMap& map, std::shared_ptr<const TypeGraph> types,
                               const std::shared_ptr<const TypeGraph>& kernel_types,
                               const TaskReader& tasks, MemoryReader& memory, std::string path,
                               std::vector<Degraded>& degraded)
    : map_(map), tasks_(tasks), memory_(memory), path_(std::move(path)), degraded_(degraded) {
  const auto choose = [](const std::shared_ptr<const TypeGraph>& graph, TypeId id,
                         uint64_t bytes) -> TypeRef {
    if (graph == nullptr || id == kVoidType || id >= graph->size()) return {};
    // A section may be shorter than the pages it is in; anything else is as long as the map says.
    const uint64_t size = graph->SizeOf(id).value_or(0);
    const bool section = graph->type(id).kind == TypeKind::kDataSection;
    return size == bytes || (section && size <= bytes) ? TypeRef{graph, id} : TypeRef{};
  };
  if (map.kind() == BpfMapKind::kStructOps) {
    value_ = choose(kernel_types, map.vmlinux_value_type, map.value_size);
  } else {
    key_ = choose(types, map.key_type, map.key_size);
    value_ = choose(types, map.value_type, map.value_size);
  }
}

bool BpfMapRenderer::IsSection() const {
  return map_.kind() == BpfMapKind::kArray && map_.max_entries == 1 && value_.graph != nullptr &&
         value_.graph->type(value_.id).kind == TypeKind::kDataSection;
}

void BpfMapRenderer::Lack(std::string_view where, std::string why) {
  if (++lacks_ > kMaxLacks) return;
  degraded_.push_back({absl::StrCat(path_, where), std::move(why)});
}

void BpfMapRenderer::AppendValue(const TypeRef& type, absl::Span<const uint8_t> bytes,
                                 std::string_view where, std::string& out) {
  if (type.graph == nullptr) {
    AppendRawValue(out, bytes);
    return;
  }
  std::vector<Degraded> lacks;
  AppendTypedValue(out, *type.graph, type.id, bytes, kValueLimits, where, lacks);
  for (Degraded& lack : lacks) Lack(lack.what, std::move(lack.why));
}

void BpfMapRenderer::AppendValueAt(uint64_t kva, uint64_t bytes, std::string_view where,
                                   std::string& out) {
  const uint64_t wanted = std::min<uint64_t>(bytes, map_.value_size);
  std::vector<uint8_t> value(memory_.Take(kva, wanted));
  if (value.empty() || !memory_.Read(kva, absl::MakeSpan(value))) {
    Lack(where, "its bytes are not in the evidence: not readable in the guest, or no room was left");
    out += "null";
    return;
  }
  if (value.size() < map_.value_size && value_.graph == nullptr) {
    Lack(where, absl::StrCat("of its ", map_.value_size, " bytes ", value.size(), " are there"));
  }
  AppendValue(value_, value, where, out);
}

bool BpfMapRenderer::BeginEntry() {
  if (entries_.size() > kMaxText) {
    ++text_cut_;
    return false;
  }
  if (rendered_++ != 0) entries_ += ',';
  return true;
}

void BpfMapRenderer::Array(uint64_t kva, uint64_t stride, uint64_t count, uint64_t bytes) {
  if (IsSection()) {
    AppendValueAt(kva, bytes, ".value", section_);
    return;
  }
  for (uint64_t i = 0; i < count; ++i) {
    if (!BeginEntry()) continue;
    absl::StrAppend(&entries_, "{\"key\":", i, ",\"value\":");
    AppendValueAt(kva + i * stride, bytes - i * stride, absl::StrCat(".entries[", i, "].value"),
                  entries_);
    entries_ += '}';
  }
}

void BpfMapRenderer::AppendKey(const BpfEntry& entry) {
  entries_ += "{\"key\":";
  if (map_.kind() == BpfMapKind::kPerCpuArray && entry.key.size() == 4) {
    uint32_t index = 0;
    memcpy(&index, entry.key.data(), sizeof index);
    absl::StrAppend(&entries_, index);
    return;
  }
  if (map_.kind() != BpfMapKind::kStorage) {
    AppendValue(key_, entry.key, absl::StrCat(".entries[", rendered_ - 1, "].key"), entries_);
    return;
  }
  // Storage hangs from its owner: of a task the key is its PID.
  if (map_.type != kTaskStorage || entry.owner == 0) {
    AppendJsonHex(entries_, entry.owner);
    return;
  }
  const TaskInfo task = tasks_.ReadName(memory_, entry.owner);
  if (task.pid.has_value()) {
    absl::StrAppend(&entries_, *task.pid);
  } else {
    AppendJsonHex(entries_, entry.owner);
  }
  entries_ += ",\"task\":";
  JsonObject object(entries_);
  object.Hex("address", task.address);
  AppendTaskName(task, object);
  object.Close();
}

void BpfMapRenderer::Entry(const BpfEntry& entry) {
  if (!BeginEntry()) return;
  const std::string where = absl::StrCat(".entries[", rendered_ - 1, "]");
  AppendKey(entry);
  const bool per_cpu =
      map_.kind() == BpfMapKind::kPerCpuArray || map_.kind() == BpfMapKind::kPerCpuHash;
  if (per_cpu) {
    entries_ += ",\"values\":[";
    for (size_t cpu = 0; cpu < entry.values.size(); ++cpu) {
      if (cpu != 0) entries_ += ',';
      AppendValueAt(entry.values[cpu], map_.value_size, absl::StrCat(where, ".values[", cpu, "]"),
                    entries_);
    }
    entries_ += ']';
  } else {
    entries_ += ",\"value\":";
    if (!entry.value.empty()) {
      AppendValue(value_, entry.value, absl::StrCat(where, ".value"), entries_);
    } else {
      AppendValueAt(entry.values[0], map_.value_size, absl::StrCat(where, ".value"), entries_);
    }
  }
  entries_ += '}';
}

void BpfMapRenderer::Append(const BpfContents& contents, std::string& out) {
  JsonObject object(out);
  object.Uint("id", map_.id);
  if (const std::string_view name = BpfMapTypeName(map_.type); !name.empty()) {
    object.String("type", name);
  } else {
    object.String("type", absl::StrCat("type ", map_.type));
  }
  object.Uint("key_size", map_.key_size)
      .Uint("value_size", map_.value_size)
      .Uint("max_entries", map_.max_entries);
  if (map_.kind() == BpfMapKind::kOther) {
    degraded_.push_back(
        {path_, absl::StrCat("what is in a map of the kind ", BpfMapTypeName(map_.type),
                             " is not captured")});
  } else if (IsSection() && !section_.empty()) {
    object.Raw("value", section_);
  } else {
    object.Raw("entries", absl::StrCat("[", entries_, "]"));
    if (contents.total != 0 || contents.cut == BpfContents::Cut::kNo) {
      object.Uint("entries_total", std::max(contents.total, contents.entries));
    }
  }
  object.Close();

  if (contents.unreadable) {
    degraded_.push_back({path_, "the map's own structures could not be read, or make no sense"});
  }
  if (contents.cut != BpfContents::Cut::kNo) degraded_.push_back({path_, WhyCut(contents)});
  if (contents.damaged != 0) {
    degraded_.push_back({path_, absl::StrCat(contents.damaged,
                                             " of its lists end in something that is no entry, run "
                                             "in a circle, or found no room in the evidence")});
  }
  if (text_cut_ != 0) {
    degraded_.push_back({path_, absl::StrCat("no text was made of its last ", text_cut_,
                                             " entries: the limit of one map is ", kMaxText,
                                             " bytes")});
  }
  if (lacks_ > kMaxLacks) {
    degraded_.push_back({path_, absl::StrCat(lacks_ - kMaxLacks, " more values lack something")});
  }
}

}  // namespace watchsnap
