#include "debug/kernel/scx/queue_reader.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

constexpr uint64_t kMaxBuckets = 4096;
constexpr int kMaxTables = 2;  // the one that is, and the one it is moving to
constexpr size_t kBucketsAtOnce = 32;
constexpr int kMaxNodes = 64;

}  // namespace

QueueReader::QueueReader(const TypeGraph& types)
    : tasks_(types),
      ids_(types, "enum scx_dsq_id_flags"),
      queue_(types, "struct scx_dispatch_q") {
  // include/linux/sched/ext.h has had these from the start.
  builtin_ = ids_.ValueOf("SCX_DSQ_FLAG_BUILTIN").value_or(uint64_t{1} << 63);
  cursor_flag_ = static_cast<uint32_t>(EnumNames(types, "enum scx_dsq_lnode_flags")
                                           .ValueOf("SCX_DSQ_LNODE_ITER_CURSOR")
                                           .value_or(1));
  id_ = queue_.Add({"id"});
  nr_ = queue_.Add({"nr"});
  missing_ = queue_.missing();
  const auto note = [this](const StructFields& fields) {
    missing_.insert(missing_.end(), fields.missing().begin(), fields.missing().end());
  };
  StructFields queue(types, "struct scx_dispatch_q");
  list_ = queue.Find("list");
  hash_node_ = queue.Find("hash_node");
  if (queue.found()) note(queue);
  StructFields task(types, "struct task_struct");
  task_node_ = task.Find("scx.dsq_list.node");
  const StructField flags = task.Find("scx.dsq_list.flags");
  if (task_node_.found() && flags.found() && flags.offset > task_node_.offset) {
    node_flags_ = {.offset = flags.offset - task_node_.offset, .size = flags.size};
  }
  note(task);
  StructFields hash(types, "struct rhashtable");
  table_ = hash.Find("tbl");
  note(hash);
  StructFields table(types, "struct bucket_table");
  size_ = table.Find("size");
  nest_ = table.Find("nest");
  future_ = table.Find("future_tbl");
  buckets_ = table.Find("buckets");
  note(table);
  in_pnode_ = StructFields(types, "struct scx_sched_pnode").Find("global_dsq");
}

ScxQueueInfo QueueReader::Read(MemoryReader& reader, uint64_t queue) const {
  ScxQueueInfo info = {.address = queue};
  FieldBlock::Copy copy;
  if (!queue_.Read(reader, queue, copy)) return info;
  info.id = queue_.Get(copy, id_);
  info.nr = queue_.Get(copy, nr_);
  return info;
}

WalkEnd QueueReader::ForEachTask(MemoryReader& reader, uint64_t queue, int max,
                                 absl::FunctionRef<void(const TaskInfo&)> visit) const {
  if (!list_.found() || !task_node_.found()) return WalkEnd::kUnreadable;
  const uint64_t head = queue + list_.offset;
  uint64_t first = 0;
  if (!reader.Load(head, first)) return WalkEnd::kUnreadable;
  return WalkChain(
      first, max, [head](uint64_t at) { return at == head; },
      [&](uint64_t at, uint64_t& next) {
        uint64_t flags = 0;
        if (!reader.Load(at, next)) return false;
        if (node_flags_.Load(reader, at, flags) && (flags & cursor_flag_) != 0) return true;
        visit(tasks_.ReadName(reader, at - task_node_.offset));
        return true;
      });
}

WalkEnd QueueReader::WalkBuckets(MemoryReader& reader, uint64_t table, uint64_t buckets, int& left,
                                 absl::FunctionRef<void(uint64_t queue)> visit) const {
  const uint64_t array = table + buckets_.offset;
  WalkEnd worst = buckets > kMaxBuckets ? WalkEnd::kCut : WalkEnd::kWhole;
  buckets = std::min(buckets, kMaxBuckets);
  std::array<uint64_t, kBucketsAtOnce> some;
  for (uint64_t done = 0; done < buckets; done += kBucketsAtOnce) {
    const size_t count = std::min<uint64_t>(kBucketsAtOnce, buckets - done);
    if (!reader.Read(array + 8 * done,
                     absl::MakeSpan(reinterpret_cast<uint8_t*>(some.data()), 8 * count))) {
      return WalkEnd::kUnreadable;
    }
    for (size_t i = 0; i < count; ++i) {
      const uint64_t first = some[i] & ~uint64_t{1};
      if (first == 0) continue;
      const WalkEnd end = WalkChain(
          first, left, [](uint64_t at) { return (at & 1) != 0; },
          [&](uint64_t at, uint64_t& next) {
            if (!reader.Load(at, next)) return false;
            --left;
            visit(at - hash_node_.offset);
            return true;
          });
      if (end == WalkEnd::kCut) return end;
      if (end != WalkEnd::kWhole) worst = end;  // the other buckets are whole
    }
  }
  return worst;
}

WalkEnd QueueReader::ForEachInTable(MemoryReader& reader, uint64_t hash, int max,
                                    absl::FunctionRef<void(uint64_t queue)> visit) const {
  uint64_t table = 0;
  if (!hash_node_.found() || !buckets_.found() || !table_.Load(reader, hash, table)) {
    return WalkEnd::kUnreadable;
  }
  WalkEnd worst = WalkEnd::kWhole;
  int left = max;
  for (int i = 0; i < kMaxTables && table != 0; ++i) {
    uint64_t size = 0;
    uint64_t nest = 0;
    if (!IsKernelAddress(table) || !size_.Load(reader, table, size)) return WalkEnd::kUnreadable;
    // A nested table, of a kernel that was out of memory, is a tree: not followed.
    if (nest_.Load(reader, table, nest) && nest != 0) return WalkEnd::kUnreadable;
    const WalkEnd end = WalkBuckets(reader, table, size, left, visit);
    if (end != WalkEnd::kWhole) worst = end;
    if (end == WalkEnd::kCut || !future_.Load(reader, table, table)) break;
  }
  return worst;
}

WalkEnd QueueReader::ForEachGlobal(MemoryReader& reader, uint64_t pointers, int nodes,
                                   absl::FunctionRef<void(int node, uint64_t queue)> visit) const {
  uint64_t array = 0;
  if (!reader.Load(pointers, array) || !IsKernelAddress(array)) return WalkEnd::kUnreadable;
  WalkEnd worst = nodes > kMaxNodes ? WalkEnd::kCut : WalkEnd::kWhole;
  for (int node = 0; node < std::min(nodes, kMaxNodes); ++node) {
    uint64_t queue = 0;
    if (!reader.Load(array + 8 * static_cast<uint64_t>(node), queue)) return WalkEnd::kUnreadable;
    // A node without CPUs or memory may have none.
    if (!IsKernelAddress(queue)) continue;
    visit(node, queue + (in_pnode_.found() ? in_pnode_.offset : 0));
  }
  return worst;
}

std::string QueueReader::NameOfId(uint64_t id) const {
  if (!IsBuiltin(id)) return "";
  if (const std::string_view name = ids_.NameOf(id);
      !name.empty() && name != "SCX_DSQ_FLAG_BUILTIN") {
    return std::string(name);
  }
  const uint64_t local_on = ids_.ValueOf("SCX_DSQ_LOCAL_ON").value_or(0);
  const uint64_t cpu = ids_.ValueOf("SCX_DSQ_LOCAL_CPU_MASK").value_or(0);
  if (local_on != 0 && (id & ~cpu) == local_on) return absl::StrCat("SCX_DSQ_LOCAL_ON|", id & cpu);
  return absl::StrCat("0x", absl::Hex(id));
}

}  // namespace watchsnap
