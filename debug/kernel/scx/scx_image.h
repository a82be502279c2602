// A small kernel with sched_ext, put together by hand: its types as BTF, its memory, its symbols. For
// tests of walks. Two CPUs, no scheduler until LoadScheduler.
//
//   ScxImage image;
//   const uint64_t task = image.AddTask(42, "worker");
//   image.LoadScheduler("fifo");
//   image.Queue(image.LocalDsq(0), {task});
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_SCX_IMAGE_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_SCX_IMAGE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/log/check.h"
#include "debug/kernel/memory_fake.h"
#include "debug/kernel/per_cpu.h"
#include "debug/kernel/scx/scx_symbols.h"
#include "debug/types/btf_builder.h"
#include "debug/types/btf_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

class ScxImage {
 public:
  struct Options {
    bool with_root = true;          // false: as before 6.16, all in variables
    bool with_rq_flags = true;
    bool with_subs = true;
  };

  // Where things are.
  static constexpr uint64_t kSymbols = 0xffff'ffff'8300'0000;
  static constexpr uint64_t kState = kSymbols;
  static constexpr uint64_t kRootPointer = kSymbols + 0x10;
  static constexpr uint64_t kTasksHead = kSymbols + 0x20;
  static constexpr uint64_t kAllHead = kSymbols + 0x40;
  static constexpr uint64_t kSwitchedAll = kSymbols + 0x60;
  static constexpr uint64_t kNodeIds = kSymbols + 0x70;
  static constexpr uint64_t kOldExitKind = kSymbols + 0x80;
  static constexpr uint64_t kOldExitInfo = kSymbols + 0x90;
  static constexpr uint64_t kOldGlobalDsqs = kSymbols + 0xa0;
  static constexpr uint64_t kOldBypass = kSymbols + 0xb0;
  static constexpr uint64_t kOldHash = kSymbols + 0xc0;
  static constexpr uint64_t kOldOps = kSymbols + 0x100;
  static constexpr uint64_t kRunqueues = 0xffff'8881'0000'0000;
  static constexpr uint64_t kCpuStride = 0x1000'0000;
  static constexpr uint64_t kSched = 0xffff'8880'0100'0000;
  static constexpr uint64_t kSubSched = 0xffff'8880'0110'0000;
  static constexpr uint64_t kExitInfo = 0xffff'8880'0120'0000;
  static constexpr uint64_t kReason = 0xffff'8880'0121'0000;
  static constexpr uint64_t kMsg = 0xffff'8880'0122'0000;
  static constexpr uint64_t kBacktrace = 0xffff'8880'0123'0000;
  static constexpr uint64_t kDump = 0xffff'8880'0124'0000;
  static constexpr uint64_t kTable = 0xffff'8880'0130'0000;
  static constexpr uint64_t kNodes = 0xffff'8880'0140'0000;
  static constexpr uint64_t kGlobalDsq = 0xffff'8880'0141'0000;
  static constexpr uint64_t kSchedPerCpu = 0xffff'8880'0150'0000;
  static constexpr uint64_t kUserDsqs = 0xffff'8880'0200'0000;
  static constexpr uint64_t kTaskMemory = 0xffff'8880'0300'0000;
  static constexpr int kCpus = 2;
  static constexpr uint32_t kBuckets = 8;
  // Offsets in its structs.
  static constexpr uint64_t kDsqList = 8, kDsqNr = 24, kDsqId = 32, kDsqHashNode = 40;
  static constexpr uint64_t kTaskScx = 48;
  static constexpr uint64_t kEntityDsq = 8, kEntityNode = 16, kEntityNodeFlags = 32,
                            kEntityFlags = 40, kEntityTasksNode = 80;
  static constexpr uint64_t kSchedHash = 152, kSchedPnode = 168, kSchedPcpu = 176,
                            kSchedBypass = 192, kSchedLevel = 200, kSchedAll = 216,
                            kSchedExitKind = 240, kSchedExitInfo = 248;
  static constexpr uint64_t kBucketArray = 16;

  ScxImage() : ScxImage(Options()) {}
  explicit ScxImage(const Options& options) : options_(options) {
    BuildTypes();
    memory.Map(kSymbols, 0x200);
    memory.Put<uint32_t>(kState, 3);  // SCX_DISABLED
    Link(kTasksHead, {});
    Link(kAllHead, {});
    memory.Put<uint32_t>(kNodeIds, 1);
    for (int cpu = 0; cpu < kCpus; ++cpu) {
      memory.Map(Runqueue(cpu), 96);
      MakeDsq(LocalDsq(cpu), (uint64_t{1} << 63) + 2);
      memory.Put<uint32_t>(Runqueue(cpu) + 16 + 52, 1);  // SCX_RQ_ONLINE
    }
  }

  const TypeGraph& types() const { return *types_; }
  PerCpu per_cpu() const { return PerCpu({0, kCpuStride}); }
  ScxSymbols symbols() const {
    ScxSymbols symbols = {.enable_state = kState,
                          .tasks = kTasksHead,
                          .switched_all = kSwitchedAll,
                          .runqueues = kRunqueues,
                          .nr_node_ids = kNodeIds};
    if (options_.with_root) {
      symbols.root = kRootPointer;
      if (options_.with_subs) symbols.all = kAllHead;
    } else {
      symbols.bypass_depth = kOldBypass;
      symbols.ops = kOldOps;
      symbols.exit_kind = kOldExitKind;
      symbols.exit_info = kOldExitInfo;
      symbols.dsq_hash = kOldHash;
      symbols.global_dsqs = kOldGlobalDsqs;
    }
    return symbols;
  }

  uint64_t Runqueue(int cpu) const { return kRunqueues + static_cast<uint64_t>(cpu) * kCpuStride; }
  uint64_t LocalDsq(int cpu) const { return Runqueue(cpu) + 16; }
  uint64_t SchedPerCpu(int cpu) const {
    return kSchedPerCpu + static_cast<uint64_t>(cpu) * kCpuStride;
  }

  // A task that sched_ext knows; kept in scx_tasks.
  uint64_t AddTask(int32_t pid, std::string_view comm, uint32_t flags = 0x401) {
    const uint64_t task = kTaskMemory + tasks_.size() * 0x1000;
    memory.Map(task, 144);
    memory.Put<uint32_t>(task, 1);       // cpu
    memory.Put<int32_t>(task + 12, pid);
    memory.Put<int32_t>(task + 16, pid);
    memory.Put<int32_t>(task + 20, 120);
    memory.Put<uint32_t>(task + 24, 7);  // SCHED_EXT
    memory.PutString(task + 32, comm);
    const uint64_t entity = task + kTaskScx;
    memory.Put<uint64_t>(entity, kSched);
    memory.Put<uint32_t>(entity + kEntityFlags, flags);
    memory.Put<uint32_t>(entity + 44, 100);
    memory.Put<int32_t>(entity + 48, -1);
    memory.Put<int32_t>(entity + 52, -1);
    memory.Put<uint64_t>(entity + 56, 4294900000);
    memory.Put<uint64_t>(entity + 64, 20'000'000);
    memory.Put<uint64_t>(entity + 72, 7000);
    tasks_.push_back(task);
    std::vector<uint64_t> nodes;
    for (const uint64_t each : tasks_) nodes.push_back(each + kTaskScx + kEntityTasksNode);
    Link(kTasksHead, nodes);
    return task;
  }

  void LoadScheduler(std::string_view name) {
    memory.Put<uint32_t>(kState, 1);  // SCX_ENABLED
    memory.Put<uint32_t>(kSwitchedAll, 1);
    const uint64_t ops = options_.with_root ? kSched : kOldOps;
    if (options_.with_root) {
      memory.Put(kRootPointer, kSched);
      memory.Map(kSched, 256);
      memory.Put(kSched + kSchedPnode, kNodes);
      memory.Put(kSched + kSchedPcpu, kSchedPerCpu);
      memory.Put<uint64_t>(kSched + 184, 20'000'000);
      memory.Put<uint64_t>(kSched + 208, 5);
      memory.Put(kSched + kSchedExitInfo, kExitInfo);
      memory.Put(kSched + kSchedHash, kTable);
      Link(kAllHead, {kSched + kSchedAll});
    } else {
      memory.Put(kOldExitInfo, kExitInfo);
      memory.Put(kOldHash, kTable);
      memory.Put(kOldGlobalDsqs, kNodes);
    }
    memory.Put<uint32_t>(ops, 32);
    memory.Put<uint64_t>(ops + 8, 3);
    memory.Put<uint32_t>(ops + 16, 2000);
    memory.PutString(ops + 24, name);
    memory.Map(kExitInfo, 64);
    memory.Map(kReason, 0x1000);
    memory.Map(kMsg, 0x1000);
    memory.Map(kBacktrace, 0x1000);
    memory.Map(kDump, 0x1000);
    memory.Put(kExitInfo + 24, uint64_t{0});
    memory.Put(kExitInfo + 32, kBacktrace);
    memory.Put(kExitInfo + 48, kMsg);
    memory.Put(kExitInfo + 56, kDump);
    memory.Put<uint64_t>(kNodes, kGlobalDsq);
    MakeDsq(kGlobalDsq, (uint64_t{1} << 63) + 1);
    memory.Map(kTable, kBucketArray + 8 * kBuckets);
    memory.Put<uint32_t>(kTable, kBuckets);
    for (int cpu = 0; cpu < kCpus; ++cpu) {
      memory.Map(SchedPerCpu(cpu), 64);
      MakeDsq(SchedPerCpu(cpu) + 8, (uint64_t{1} << 63) + 3);
    }
  }

  // What the kernel does when a scheduler fails: claims first, fills in later.
  void ClaimExit(uint32_t kind) {
    memory.Put<uint32_t>(options_.with_root ? kSched + kSchedExitKind : kOldExitKind, kind);
  }
  void FillExit(uint32_t kind, std::string_view reason, std::string_view msg,
                std::vector<uint64_t> backtrace) {
    memory.Put<uint32_t>(kExitInfo, kind);
    memory.Put<int32_t>(kExitInfo + 4, -1);
    memory.Put<int64_t>(kExitInfo + 8, -22);
    memory.Put<uint64_t>(kExitInfo + 16, 1);
    memory.Put(kExitInfo + 24, kReason);
    memory.Put<uint32_t>(kExitInfo + 40, static_cast<uint32_t>(backtrace.size()));
    memory.PutString(kReason, reason);
    memory.PutString(kMsg, msg);
    for (size_t i = 0; i < backtrace.size(); ++i) memory.Put(kBacktrace + 8 * i, backtrace[i]);
  }

  // A queue of the scheduler's own, in the table.
  uint64_t AddUserDsq(uint64_t id, uint32_t bucket) {
    const uint64_t dsq = kUserDsqs + user_dsqs_++ * 0x1000;
    MakeDsq(dsq, id);
    const uint64_t place = kTable + kBucketArray + 8 * bucket;
    uint64_t next = 0;
    CHECK(memory.Load(place, next));
    memory.Put<uint64_t>(dsq + kDsqHashNode, next != 0 ? next : place | 1);
    memory.Put<uint64_t>(place, dsq + kDsqHashNode);
    return dsq;
  }

  void Queue(uint64_t dsq, const std::vector<uint64_t>& tasks) {
    std::vector<uint64_t> nodes;
    for (const uint64_t task : tasks) {
      nodes.push_back(task + kTaskScx + kEntityNode);
      memory.Put<uint64_t>(task + kTaskScx + kEntityDsq, dsq);
    }
    Link(dsq + kDsqList, nodes);
    memory.Put<uint32_t>(dsq + kDsqNr, static_cast<uint32_t>(tasks.size()));
  }

  void SetCurr(int cpu, uint64_t task) { memory.Put<uint64_t>(Runqueue(cpu) + 8, task); }

  // A struct list_head and its nodes, in a ring.
  void Link(uint64_t head, const std::vector<uint64_t>& nodes) {
    uint64_t last = head;
    for (const uint64_t node : nodes) {
      memory.Put<uint64_t>(last, node);
      memory.Put<uint64_t>(node + 8, last);
      last = node;
    }
    memory.Put<uint64_t>(last, head);
    memory.Put<uint64_t>(head + 8, last);
  }

  MemoryFake memory;

 private:
  void MakeDsq(uint64_t dsq, uint64_t id) {
    if (uint64_t unused = 0; !memory.Load(dsq + kDsqHashNode, unused)) memory.Map(dsq, 48);
    memory.Put<uint64_t>(dsq + kDsqId, id);
    Link(dsq + kDsqList, {});
  }

  void BuildTypes() {
    BtfBuilder btf;
    const uint32_t u8 = btf.Int("unsigned char", 1);
    const uint32_t u32 = btf.Int("unsigned int", 4);
    const uint32_t s32 = btf.Int("int", 4, BTF_INT_SIGNED);
    const uint32_t u64 = btf.Int("unsigned long", 8);
    const uint32_t s64 = btf.Int("long", 8, BTF_INT_SIGNED);
    const uint32_t pointer = btf.Pointer(0);
    const uint32_t character = btf.Int("char", 1, BTF_INT_CHAR);
    const auto at = [](uint32_t byte) { return byte * 8; };
    const uint32_t list = btf.Struct("list_head", 16, {{"next", pointer, 0}, {"prev", pointer, at(8)}});
    const uint32_t hash_head = btf.Struct("rhash_head", 8, {{"next", pointer, 0}});
    const uint32_t node = btf.Struct("scx_dsq_list_node", 24,
                                     {{"node", list, 0}, {"flags", u32, at(16)}, {"priv", u32, at(20)}});
    const uint32_t dsq = btf.Struct("scx_dispatch_q", 48,
                                    {{"lock", u32, 0},
                                     {"list", list, at(8)},
                                     {"nr", u32, at(24)},
                                     {"id", u64, at(32)},
                                     {"hash_node", hash_head, at(40)}});
    const uint32_t entity = btf.Struct("sched_ext_entity", 96,
                                       {{"sched", pointer, 0},
                                        {"dsq", pointer, at(8)},
                                        {"dsq_list", node, at(16)},
                                        {"flags", u32, at(40)},
                                        {"weight", u32, at(44)},
                                        {"sticky_cpu", s32, at(48)},
                                        {"holding_cpu", s32, at(52)},
                                        {"runnable_at", u64, at(56)},
                                        {"slice", u64, at(64)},
                                        {"dsq_vtime", u64, at(72)},
                                        {"tasks_node", list, at(80)}});
    btf.Struct("task_struct", 144,
               {{"cpu", u32, 0},
                {"__state", u32, at(4)},
                {"exit_state", s32, at(8)},
                {"pid", s32, at(12)},
                {"tgid", s32, at(16)},
                {"prio", s32, at(20)},
                {"policy", u32, at(24)},
                {"comm", btf.Array(character, 16), at(32)},
                {"scx", entity, at(48)}});
    std::vector<BtfBuilder::MemberSpec> scx_rq_members = {
        {"local_dsq", dsq, 0}, {"nr_running", u32, at(48)}, {"cpu_released", u8, at(56)}};
    if (options_.with_rq_flags) scx_rq_members.push_back({"flags", u32, at(52)});
    const uint32_t scx_rq = btf.Struct("scx_rq", 64, scx_rq_members);
    btf.Struct("rq", 80, {{"nr_running", u32, 0}, {"curr", pointer, at(8)}, {"scx", scx_rq, at(16)}});
    const uint32_t ops = btf.Struct("sched_ext_ops", 152,
                                    {{"dispatch_max_batch", u32, 0},
                                     {"flags", u64, at(8)},
                                     {"timeout_ms", u32, at(16)},
                                     {"name", btf.Array(character, 128), at(24)}});
    const uint32_t hash = btf.Struct("rhashtable", 16, {{"tbl", pointer, 0}});
    btf.Struct("bucket_table", 16,
               {{"size", u32, 0},
                {"nest", u32, at(4)},
                {"future_tbl", pointer, at(8)},
                {"buckets", btf.Array(pointer, 0), at(16)}});
    if (options_.with_root) {
      btf.Struct("scx_sched_pnode", 48, {{"global_dsq", dsq, 0}});
      btf.Struct("scx_sched_pcpu", 56, {{"flags", u64, 0}, {"bypass_dsq", dsq, at(8)}});
      std::vector<BtfBuilder::MemberSpec> members = {{"ops", ops, 0},
                                                     {"dsq_hash", hash, at(152)},
                                                     {"pnode", pointer, at(168)},
                                                     {"pcpu", pointer, at(176)},
                                                     {"slice_dfl", u64, at(184)},
                                                     {"bypass_depth", s32, at(192)},
                                                     {"aborting", u8, at(196)},
                                                     {"level", s32, at(200)},
                                                     {"id", u64, at(208)},
                                                     {"cgrp_path", pointer, at(232)},
                                                     {"exit_kind", s32, at(240)},
                                                     {"exit_info", pointer, at(248)}};
      if (options_.with_subs) members.push_back({"all", list, at(216)});
      btf.Struct("scx_sched", 256, members);
      btf.Enum("scx_sched_pcpu_flags", 4, false, {{"SCX_SCHED_PCPU_BYPASSING", 1}});
    }
    btf.Struct("scx_exit_info", 64,
               {{"kind", u32, 0},
                {"exit_cpu", s32, at(4)},
                {"exit_code", s64, at(8)},
                {"flags", u64, at(16)},
                {"reason", pointer, at(24)},
                {"bt", pointer, at(32)},
                {"bt_len", u32, at(40)},
                {"msg", pointer, at(48)},
                {"dump", pointer, at(56)}});
    if (options_.with_root) {
      btf.Enum("scx_enable_state", 4, false,
               {{"SCX_ENABLING", 0}, {"SCX_ENABLED", 1}, {"SCX_DISABLING", 2}, {"SCX_DISABLED", 3}});
      btf.Enum("scx_rq_flags", 4, false,
               {{"SCX_RQ_ONLINE", 1}, {"SCX_RQ_CAN_STOP_TICK", 2}, {"SCX_RQ_IN_WAKEUP", 1 << 16}});
    } else {
      btf.Enum("scx_ops_enable_state", 4, false,
               {{"SCX_OPS_ENABLING", 0},
                {"SCX_OPS_ENABLED", 1},
                {"SCX_OPS_DISABLING", 2},
                {"SCX_OPS_DISABLED", 3}});
      btf.Enum("scx_rq_flags", 4, false, {{"SCX_RQ_ONLINE", 1}, {"SCX_RQ_BYPASSING", 16}});
    }
    btf.Enum("scx_exit_kind", 4, false,
             {{"SCX_EXIT_NONE", 0},
              {"SCX_EXIT_DONE", 1},
              {"SCX_EXIT_UNREG", 64},
              {"SCX_EXIT_ERROR", 1024},
              {"SCX_EXIT_ERROR_BPF", 1025}});
    btf.Enum("scx_exit_flags", 4, false, {{"SCX_EFLAG_INITIALIZED", 1}});
    btf.Enum("scx_ops_flags", 4, false,
             {{"SCX_OPS_KEEP_BUILTIN_IDLE", 1}, {"SCX_OPS_ENQ_LAST", 2}});
    btf.Enum("scx_ent_flags", 4, true,
             {{"SCX_TASK_QUEUED", 1},
              {"SCX_TASK_DEQD_FOR_SLEEP", 8},
              {"SCX_TASK_STATE_SHIFT", 8},
              {"SCX_TASK_STATE_MASK", 0x700},
              {"SCX_TASK_NONE", 0},
              {"SCX_TASK_READY", 0x300},
              {"SCX_TASK_ENABLED", 0x400},
              {"SCX_TASK_CURSOR", -2147483648LL}});
    btf.Enum("scx_dsq_lnode_flags", 4, false, {{"SCX_DSQ_LNODE_ITER_CURSOR", 1}});
    const int64_t builtin = INT64_MIN;
    btf.Enum64("scx_dsq_id_flags", false,
               {{"SCX_DSQ_FLAG_BUILTIN", builtin},
                {"SCX_DSQ_GLOBAL", builtin + 1},
                {"SCX_DSQ_LOCAL", builtin + 2},
                {"SCX_DSQ_BYPASS", builtin + 3},
                {"SCX_DSQ_LOCAL_ON", builtin | int64_t{1} << 62},
                {"SCX_DSQ_LOCAL_CPU_MASK", 0xffffffff}});
    auto types = ReadBtf(btf.Bytes());
    CHECK(types.ok()) << types.status();
    types_ = *types;
  }

  const Options options_;
  std::shared_ptr<const TypeGraph> types_;
  std::vector<uint64_t> tasks_;
  uint64_t user_dsqs_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_SCX_IMAGE_H_
