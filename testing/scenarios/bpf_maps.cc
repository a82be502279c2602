// BPF maps in captures: a program of the guest has one of every kind with values that are known.
//
// In the guest the values are read back by the bpf() system call before the capture is taken, so
// that what is compared on the host is what the kernel had.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/bpf/loaded_object.h"
#include "testing/bpf/maps.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

constexpr int kCpus = 2;
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
  const maps_counter none[kCpus] = {};
  status.Update(maps.Put("cpu_counters", kCpuKey, none));
  status.Update(maps.Put("untyped", std::array<uint8_t, 2>{0x12, 0x34},
                         std::array<uint8_t, 3>{0xab, 0xcd, 0xef}));
  for (int cpu = 0; cpu < kCpus; ++cpu) status.Update(maps.Run("fill_this_cpu", cpu));
  status.Update(maps.Run("fill_globals", -1));
  return status;
}

// What the host's side checks in the capture, by another way.
void CheckInGuest(MapWriter& maps) {
  EXPECT_EQ(*maps.Read<uint64_t>("numbers", 2u), uint64_t{1} << 63);
  absl::StatusOr<maps_counter> counter = maps.Read<maps_counter>("counters", kSecond);
  ASSERT_TRUE(counter.ok()) << counter.status();
  EXPECT_EQ(counter->hits, uint64_t{1} << 40);
  using Totals = std::array<uint64_t, kCpus>;
  EXPECT_EQ(*maps.Read<Totals>("cpu_totals", 1u), (Totals{1007, 2007}));
  using Counters = std::array<maps_counter, kCpus>;
  absl::StatusOr<Counters> by_cpu = maps.Read<Counters>("cpu_counters", kCpuKey);
  ASSERT_TRUE(by_cpu.ok()) << by_cpu.status();
  EXPECT_EQ((*by_cpu)[1].hits, 51u);
  EXPECT_EQ((*by_cpu)[1].level, -2);
}

WATCH_SCENARIO(BpfMaps) {
  absl::StatusOr<std::unique_ptr<LoadedBpfObject>> object =
      LoadedBpfObject::Load("/data/maps.bpf.o");
  if (!object.ok()) return object.status();
  EXPECT_EQ(libbpf_num_possible_cpus(), kCpus);
  EXPECT_EQ((*object)->MapFd("no_such").status().code(), absl::StatusCode::kNotFound);
  MapWriter maps(**object);
  if (absl::Status status = Fill(maps); !status.ok()) return status;
  CheckInGuest(maps);
  return ExecuteSteps(
      ctx,
      {Step{.ops = {Op::Snapshot("maps"),
                    Op::Run("one more",
                            [&maps](ScenarioContext&) { return maps.Run("fill_globals", -1); }),
                    Op::Snapshot("maps")}}});
}

POST_VM(BpfMaps) {
  const std::vector<CaptureEntry> captures = result.snapshot_bridge->ByTag("maps");
  ASSERT_EQ(captures.size(), 2u);
}

}  // namespace
}  // namespace watchsnap
