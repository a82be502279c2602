#include "debug/kernel/scx/runqueue_reader.h"

#include <utility>

#include "debug/kernel/scx/bounded_walk.h"

namespace watchsnap {

RunqueueReader::RunqueueReader(const TypeGraph& types, const ScxSymbols& symbols, PerCpu per_cpu)
    : symbols_(symbols),
      per_cpu_(std::move(per_cpu)),
      tasks_(types),
      flag_names_(types, "enum scx_rq_flags"),
      scx_block_(types, "struct scx_rq") {
  if (symbols_.runqueues == 0) missing_.push_back("the kernel has no variable runqueues");
  rq_bypassing_ = flag_names_.ValueOf("SCX_RQ_BYPASSING").value_or(0);
  per_cpu_bypassing_ = EnumNames(types, "enum scx_sched_pcpu_flags")
                           .ValueOf("SCX_SCHED_PCPU_BYPASSING")
                           .value_or(0);
  StructFields rq(types, "struct rq");
  nr_running_ = rq.Find("nr_running");
  curr_ = rq.Find("curr");
  scx_ = rq.Find("scx");
  missing_.insert(missing_.end(), rq.missing().begin(), rq.missing().end());
  scx_nr_running_ = scx_block_.Add({"nr_running"});
  flags_ = scx_block_.Add({"flags"});
  cpu_released_ = scx_block_.Add({"cpu_released"}, FieldBlock::Presence::kOptional);
  missing_.insert(missing_.end(), scx_block_.missing().begin(), scx_block_.missing().end());
  StructFields scx_rq(types, "struct scx_rq");
  local_dsq_ = scx_rq.Find("local_dsq");
  if (scx_rq.found() && !local_dsq_.found()) missing_.push_back(scx_rq.missing().back());
  bypass_dsq_in_rq_ = scx_rq.Find("bypass_dsq");
  StructFields per_cpu_part(types, "struct scx_sched_pcpu");
  per_cpu_flags_ = per_cpu_part.Find("flags");
  bypass_dsq_per_cpu_ = per_cpu_part.Find("bypass_dsq");
}

ScxCpuInfo RunqueueReader::Read(MemoryReader& reader, int cpu,
                                const ScxSchedulerInfo& root) const {
  ScxCpuInfo info = {.cpu = cpu};
  const uint64_t rq = per_cpu_.AddressOf(cpu, symbols_.runqueues);
  info.runqueue = rq;
  uint64_t value = 0;
  if (nr_running_.Load(reader, rq, value)) {
    info.nr_running = value;
    info.known = true;
  }
  if (curr_.Load(reader, rq, value) && IsKernelAddress(value)) {
    info.curr = tasks_.ReadName(reader, value);
  }
  FieldBlock::Copy copy;
  if (scx_.found() && scx_block_.Read(reader, rq + scx_.offset, copy)) {
    info.known = true;
    info.scx_nr_running = scx_block_.Get(copy, scx_nr_running_);
    info.flags = scx_block_.Get(copy, flags_);
    if (const auto released = scx_block_.Get(copy, cpu_released_); released.has_value()) {
      info.cpu_released = *released != 0;
    }
    if (local_dsq_.found()) info.local_dsq = rq + scx_.offset + local_dsq_.offset;
    if (bypass_dsq_in_rq_.found()) info.bypass_dsq = rq + scx_.offset + bypass_dsq_in_rq_.offset;
  }
  if (rq_bypassing_ != 0 && info.flags.has_value()) {
    info.bypassing = (*info.flags & rq_bypassing_) != 0;
  } else if (per_cpu_bypassing_ != 0 && root.per_cpu != 0) {
    const uint64_t part = per_cpu_.AddressOf(cpu, root.per_cpu);
    if (per_cpu_flags_.Load(reader, part, value)) {
      info.bypassing = (value & per_cpu_bypassing_) != 0;
    }
    if (bypass_dsq_per_cpu_.found()) info.bypass_dsq = part + bypass_dsq_per_cpu_.offset;
  }
  return info;
}

}  // namespace watchsnap
