#include "debug/kernel/task_reader.h"

#include <bit>
#include <cstring>

namespace watchsnap {
namespace {

// include/linux/sched.h
constexpr uint64_t kUninterruptible = 0x2;
constexpr uint64_t kReported = 0x7f;  // TASK_REPORT
constexpr uint64_t kNoLoad = 0x400;
constexpr uint64_t kRtLockWait = 0x1000;
constexpr uint64_t kFrozen = 0x8000;
constexpr uint64_t kIdle = kUninterruptible | kNoLoad;

template <typename T>
std::optional<T> LoadAs(const StructField& field, MemoryReader& reader, uint64_t task) {
  uint64_t value = 0;
  if (!field.Load(reader, task, value)) return std::nullopt;
  return static_cast<T>(value);
}

}  // namespace

std::string_view TaskInfo::comm() const {
  return std::string_view(comm_bytes.data(), strnlen(comm_bytes.data(), comm_bytes.size()));
}

TaskReader::TaskReader(const TypeGraph& types) {
  StructFields fields(types, "struct task_struct");
  pid_ = fields.Find("pid");
  tgid_ = fields.Find("tgid");
  comm_ = fields.Find("comm");
  state_ = fields.FindFirst({"__state", "state"});  // "state" before 5.14
  exit_state_ = fields.Find("exit_state");
  policy_ = fields.Find("policy");
  prio_ = fields.Find("prio");
  cpu_ = fields.FindFirst({"thread_info.cpu", "cpu"});  // "cpu" before 5.16
  missing_ = fields.missing();
}

TaskInfo TaskReader::ReadName(MemoryReader& reader, uint64_t task) const {
  TaskInfo info;
  info.address = task;
  info.pid = LoadAs<int32_t>(pid_, reader, task);
  if (comm_.found() && comm_.size <= info.comm_bytes.size()) {
    info.has_comm =
        reader.Read(task + comm_.offset,
                    absl::MakeSpan(reinterpret_cast<uint8_t*>(info.comm_bytes.data()), comm_.size));
  }
  return info;
}

TaskInfo TaskReader::Read(MemoryReader& reader, uint64_t task) const {
  TaskInfo info = ReadName(reader, task);
  info.tgid = LoadAs<int32_t>(tgid_, reader, task);
  info.policy = LoadAs<uint32_t>(policy_, reader, task);
  info.prio = LoadAs<int32_t>(prio_, reader, task);
  info.cpu = LoadAs<uint32_t>(cpu_, reader, task);
  const std::optional<uint64_t> state = LoadAs<uint64_t>(state_, reader, task);
  const std::optional<uint64_t> exit_state = LoadAs<uint64_t>(exit_state_, reader, task);
  if (state.has_value()) info.state = TaskStateLetter(*state, exit_state.value_or(0));
  return info;
}

char TaskStateLetter(uint64_t state, uint64_t exit_state) {
  uint64_t reported = (state | exit_state) & kReported;
  if ((state & kIdle) == kIdle) return 'I';
  if ((state & (kRtLockWait | kFrozen)) != 0) reported = kUninterruptible;
  // Running, and for each bit: interruptible, uninterruptible, stopped, traced, dead, zombie, parked.
  constexpr std::string_view kLetters = "RSDTtXZP";
  return kLetters[static_cast<size_t>(std::bit_width(reported))];
}

std::string_view SchedPolicyName(uint32_t policy) {
  switch (policy) {
    case 0: return "SCHED_NORMAL";
    case 1: return "SCHED_FIFO";
    case 2: return "SCHED_RR";
    case 3: return "SCHED_BATCH";
    case 5: return "SCHED_IDLE";
    case 6: return "SCHED_DEADLINE";
    case 7: return "SCHED_EXT";
  }
  return "";
}

}  // namespace watchsnap
