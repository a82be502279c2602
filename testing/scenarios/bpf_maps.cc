// BPF maps in captures: a program of the guest has one of every kind with values that are known.
//
// In the guest the values are read back by the bpf() system call before the capture is taken; on the
// host the captures must hold exactly these, by name, live and from the sidecar, read by the same code.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/accessor/snapshot.h"
#include "snapshot/report/sidecar_file.h"
#include "testing/bpf/loaded_object.h"
#include "testing/bpf/maps.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/captures.h"

namespace watchsnap {
namespace {

using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr int kMostCpus = 2;
constexpr char kComm[] = "fills maps";
constexpr uint64_t kCpuKey = 0xfeedface12345678;
constexpr maps_key kFirst = {.address = 0x7f000001, .port = 8080, .zero = 0};
constexpr maps_key kSecond = {.address = 0x0a000001, .port = 53, .zero = 0};

maps_counter Counter(uint64_t hits, int32_t level, maps_mood mood) {
  maps_counter counter = {};
  counter.hits = hits;
  counter.level = level;
  counter.urgent = 1;
  counter.weight = 93;
  counter.mood = mood;
  return counter;
}

// Fills and compares, by name.
class MapWriter {
 public:
  explicit MapWriter(const LoadedBpfObject& object) : object_(object) {}

  template <typename Key, typename Value>
  absl::Status Put(const char* name, const Key& key, const Value& value) {
    absl::StatusOr<int> fd = object_.MapFd(name);
    if (!fd.ok()) return fd.status();
    if (bpf_map_update_elem(*fd, &key, &value, BPF_ANY) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("put into the map ", name));
    }
    return absl::OkStatus();
  }

  template <typename Value, typename Key>
  absl::StatusOr<Value> Read(const char* name, const Key& key) {
    absl::StatusOr<int> fd = object_.MapFd(name);
    if (!fd.ok()) return fd.status();
    Value value = {};
    if (bpf_map_lookup_elem(*fd, &key, &value) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("read the map ", name));
    }
    return value;
  }

  // On `cpu`, or here.
  absl::Status Run(const char* name, int cpu) {
    absl::StatusOr<int> fd = object_.ProgramFd(name);
    if (!fd.ok()) return fd.status();
    bpf_test_run_opts options = {};
    options.sz = sizeof(options);
    if (cpu >= 0) {
      options.flags = BPF_F_TEST_RUN_ON_CPU;
      options.cpu = static_cast<uint32_t>(cpu);
    }
    if (bpf_prog_test_run_opts(*fd, &options) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("run the program ", name));
    }
    return absl::OkStatus();
  }

 private:
  const LoadedBpfObject& object_;
};

absl::Status Fill(MapWriter& maps) {
  absl::Status status;
  for (uint32_t i = 0; i < 2; ++i) status.Update(maps.Put("numbers", i, uint64_t{1000} * (i + 1)));
  status.Update(maps.Put("counters", kFirst, Counter(7, -3, MAPS_BUSY)));
  status.Update(maps.Put("counters", kSecond, Counter(uint64_t{1} << 40, 5, MAPS_ANGRY)));
  for (uint32_t i = 1; i <= 5; ++i)
    status.Update(maps.Put("recent", i, Counter(i * i, 0, MAPS_CALM)));
  const maps_counter none[kMostCpus] = {};
  status.Update(maps.Put("cpu_counters", kCpuKey, none));
  status.Update(maps.Put("untyped", std::array<uint8_t, 2>{0x12, 0x34},
                         std::array<uint8_t, 3>{0xab, 0xcd, 0xef}));
  for (int cpu = 0; cpu < libbpf_num_possible_cpus(); ++cpu) status.Update(maps.Run("fill_this_cpu", cpu));
  status.Update(maps.Run("fill_globals", -1));
  return status;
}

// What the host's side checks in the capture, by another way.
void CheckInGuest(MapWriter& maps) {
  EXPECT_EQ(*maps.Read<uint64_t>("numbers", 2u), uint64_t{1} << 63);
  absl::StatusOr<maps_counter> counter = maps.Read<maps_counter>("counters", kSecond);
  ASSERT_TRUE(counter.ok()) << counter.status();
  EXPECT_EQ(counter->hits, uint64_t{1} << 40);
  const size_t last = static_cast<size_t>(libbpf_num_possible_cpus()) - 1;
  using Totals = std::array<uint64_t, kMostCpus>;
  EXPECT_EQ((*maps.Read<Totals>("cpu_totals", 1u))[last], 1000 * (last + 1) + 7);
  using Counters = std::array<maps_counter, kMostCpus>;
  absl::StatusOr<Counters> by_cpu = maps.Read<Counters>("cpu_counters", kCpuKey);
  ASSERT_TRUE(by_cpu.ok()) << by_cpu.status();
  EXPECT_EQ((*by_cpu)[last].hits, 50 + last);
  EXPECT_EQ((*by_cpu)[last].level, -1 - static_cast<int>(last));
}

WATCH_SCENARIO(BpfMaps) {
  prctl(PR_SET_NAME, kComm);
  absl::StatusOr<std::unique_ptr<LoadedBpfObject>> object =
      LoadedBpfObject::Load("/data/maps.bpf.o");
  if (!object.ok()) return object.status();
  if (libbpf_num_possible_cpus() > kMostCpus) return absl::InternalError("more CPUs than vCPUs");
  EXPECT_EQ((*object)->MapFd("no_such").status().code(), absl::StatusCode::kNotFound);
  MapWriter maps(**object);
  if (absl::Status status = Fill(maps); !status.ok()) return status;
  CheckInGuest(maps);
  absl::StatusOr<AssertResult> result = ExecuteSteps(
      ctx,
      {Step{.ops = {Op::Snapshot("maps"),
                    Op::Run("one more",
                            [&maps](ScenarioContext&) { return maps.Run("fill_globals", -1); }),
                    Op::Snapshot("maps")}}});
  if (result.ok()) {
    result->AddNote(absl::StrCat("pid=", getpid()));
    result->AddNote(absl::StrCat("cpus=", libbpf_num_possible_cpus()));
  }
  return result;
}

// The globals after `runs` runs of fill_globals.
void ExpectGlobals(const Snapshot& snapshot, uint64_t runs, int64_t pid) {
  EXPECT_EQ(snapshot.Map("maps.bss").Get("state.runs").AsU64().value_or(0), runs);
  const SnapshotValue state = snapshot.Var("state");
  EXPECT_EQ(state.Get("last.pid").AsI64().value_or(0), pid) << state.status();
  EXPECT_EQ(state.Get("last.comm").AsStr().value_or(""), kComm);
  EXPECT_EQ(state.Get("last.inner.deep").AsU64().value_or(0), 0x0123456789abcdefu);
  EXPECT_EQ(state.Get("last.inner.bytes").ToJson().value_or(""), "[10,20,30,40]");
  EXPECT_EQ(state.Get("mood").AsStr().value_or(""), "MAPS_BUSY");
  EXPECT_EQ(state.Get("ready").AsBool().value_or(false), true);
  EXPECT_EQ(snapshot.Var("nr_enqueued").AsU64().value_or(0), 42u);
  EXPECT_EQ(snapshot.Map("maps.data").Get("threshold").AsI64().value_or(0),
            -12345 - static_cast<int64_t>(runs));
  EXPECT_EQ(snapshot.Var("label").AsStr().value_or(""), "as measured");
  EXPECT_EQ(snapshot.Map("maps.rodata").Get("limits").ToJson().value_or(""), "[3,1,4]");
  EXPECT_EQ(snapshot.Var("wanted").AsStr().value_or(""), "MAPS_ANGRY");
}

void ExpectCounter(const SnapshotEntry& entry, const maps_counter& expected) {
  EXPECT_EQ(entry.Get("hits").AsU64().value_or(~uint64_t{0}), expected.hits) << entry.status();
  EXPECT_EQ(entry.Get("level").AsI64().value_or(9999), expected.level);
  EXPECT_EQ(entry.Get("urgent").AsU64().value_or(99), uint64_t{expected.urgent});
  EXPECT_EQ(entry.Get("weight").AsU64().value_or(99), uint64_t{expected.weight});
  EXPECT_EQ(entry.Get("mood").AsStr().value_or(""), expected.mood == MAPS_CALM   ? "MAPS_CALM"
                                                    : expected.mood == MAPS_BUSY ? "MAPS_BUSY"
                                                                                 : "MAPS_ANGRY");
}

void ExpectTables(const Snapshot& snapshot, int64_t pid, uint64_t cpus) {
  const uint64_t numbers[] = {1000, 2000, uint64_t{1} << 63, 0};
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(snapshot.Map("numbers").At(i).AsU64().value_or(~uint64_t{0}), numbers[i]) << i;
  }
  const auto of_port = [](uint16_t port) {
    return [port](const SnapshotEntry& entry) { return entry.Key().Get("port").Is(port); };
  };
  const SnapshotMap counters = snapshot.Map("counters");
  ExpectCounter(counters.Find(of_port(8080)), Counter(7, -3, MAPS_BUSY));
  ExpectCounter(counters.Find(of_port(53)), Counter(uint64_t{1} << 40, 5, MAPS_ANGRY));
  EXPECT_EQ(counters.MaxBy("hits").Key().Get("address").AsU64().value_or(0), kSecond.address);
  EXPECT_EQ(snapshot.Get("maps.counters.entries_total").AsU64().value_or(0), 2u);
  EXPECT_EQ(snapshot.Get("maps.recent.type").AsStr().value_or(""), "lru_hash");
  for (uint64_t i = 1; i <= 5; ++i) {
    ExpectCounter(snapshot.Map("recent").Find(i), Counter(i * i, 0, MAPS_CALM));
  }
  const auto every = snapshot.Get("maps.cpu_totals.entries[1].values").Items();
  EXPECT_EQ(every.ok() ? every->size() : 0, cpus) << every.status();
  for (uint64_t cpu = 0; cpu < cpus; ++cpu) {
    EXPECT_EQ(snapshot.Map("cpu_totals").At(0).Cpu(cpu).AsU64().value_or(9), 0u);
    EXPECT_EQ(snapshot.Map("cpu_totals").At(1).Cpu(cpu).AsU64().value_or(0), 1000 * (cpu + 1) + 7);
    const SnapshotEntry mine = snapshot.Map("cpu_counters").Find(kCpuKey).Cpu(cpu);
    EXPECT_EQ(mine.Get("hits").AsU64().value_or(0), 50 + cpu) << mine.status();
    EXPECT_EQ(mine.Get("level").AsI64().value_or(9), -1 - static_cast<int64_t>(cpu));
  }
  EXPECT_EQ(snapshot.Map("notes").Find(pid).Get("visits").AsU64().value_or(0), 99u);
  EXPECT_EQ(snapshot.Map("notes").Find(pid).Get("text").AsStr().value_or(""), "was here");
  EXPECT_EQ(snapshot.Get("maps.notes.entries[0].task.comm").AsStr().value_or(""), kComm);
  EXPECT_EQ(snapshot.Map("untyped").Find("hex:1234").AsStr().value_or(""), "hex:abcdef");
}

POST_VM(BpfMaps) {
  int64_t pid = 0;
  uint64_t cpus = 0;
  ASSERT_TRUE(absl::SimpleAtoi(NoteOf(result, "pid"), &pid));
  ASSERT_TRUE(absl::SimpleAtoi(NoteOf(result, "cpus"), &cpus));
  const std::vector<CaptureEntry> captures = result.snapshot_bridge->ByTag("maps");
  ASSERT_THAT(captures, SizeIs(2));
  for (size_t i = 0; i < captures.size(); ++i) {
    const Snapshot snapshot = captures[i].snapshot();
    ExpectGlobals(snapshot, i + 1, pid);
    ExpectTables(snapshot, pid, cpus);
    for (const Degraded& degraded : captures[i].report.degraded) {
      EXPECT_THAT(degraded.what, Not(StartsWith("maps"))) << degraded.why;
    }
  }
  ASSERT_THAT(result.sidecars, SizeIs(1));
  absl::StatusOr<SidecarFile> file = SidecarFile::Open(result.sidecars[0]);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->size(), 2u);
  for (size_t i = 0; i < file->size(); ++i) {
    const Snapshot snapshot(file->Document(i));
    ExpectGlobals(snapshot, i + 1, pid);
    ExpectTables(snapshot, pid, cpus);
  }
}

}  // namespace
}  // namespace watchsnap
