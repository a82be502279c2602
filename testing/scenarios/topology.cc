// The topology that a target asks for (WATCHSNAP_TOPOLOGY), as the stock kernel tells it in /sys:
// siblings, who shares which cache, nodes with their CPUs, distances and memory.
//
// vCPUs are numbered threads first, then cores, LLCs and nodes, so every group is a range.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "vmm/boot/cpu_topology.h"

namespace watchsnap {
namespace {

constexpr char kCpus[] = "/sys/devices/system/cpu/";
constexpr char kNodes[] = "/sys/devices/system/node/";

std::string Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::StrCat("(no ", path, ")");
  std::ostringstream text;
  text << file.rdbuf();
  return std::string(absl::StripSuffix(text.str(), "\n"));
}

// The group of `size` CPUs that holds `cpu`, as the kernel writes lists.
std::string Group(int cpu, int size) {
  const int first = cpu / size * size;
  return size == 1 ? absl::StrCat(first) : absl::StrCat(first, "-", first + size - 1);
}

// Caches by level; level 3 is the last one.
void ExpectCaches(int cpu, const CpuTopology& wanted) {
  const int threads = wanted.threads_per_core;
  int last_level = 0;
  for (int index = 0; index < 8; ++index) {
    const std::string cache = absl::StrCat(kCpus, "cpu", cpu, "/cache/index", index, "/");
    const std::string level = Read(cache + "level");
    if (absl::StartsWith(level, "(no")) break;
    SCOPED_TRACE(absl::StrCat("level ", level, " ", Read(cache + "type")));
    const int sharing = level == "3" ? wanted.cores_per_llc * threads : threads;
    EXPECT_EQ(Read(cache + "shared_cpu_list"), Group(cpu, sharing));
    last_level = std::max(last_level, level[0] - '0');
  }
  EXPECT_EQ(last_level, 3) << "there is no last-level cache";
}

void ExpectCpu(int cpu, const CpuTopology& wanted) {
  SCOPED_TRACE(absl::StrCat("CPU ", cpu));
  const std::string topology = absl::StrCat(kCpus, "cpu", cpu, "/topology/");
  EXPECT_EQ(Read(topology + "thread_siblings_list"), Group(cpu, wanted.threads_per_core));
  EXPECT_EQ(Read(topology + "package_cpus_list"), Group(cpu, wanted.vcpus_per_node()));
  EXPECT_EQ(Read(topology + "physical_package_id"), absl::StrCat(wanted.node_of(cpu)));
  ExpectCaches(cpu, wanted);
}

uint64_t NodeMemoryKb(int node) {
  uint64_t kb = 0;
  for (std::string_view line :
       absl::StrSplit(Read(absl::StrCat(kNodes, "node", node, "/meminfo")), '\n')) {
    const std::vector<std::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() > 3 && words[2] == "MemTotal:") (void)absl::SimpleAtoi(words[3], &kb);
  }
  return kb;
}

absl::Status ReadBack(ScenarioContext&) {
  const absl::StatusOr<CpuTopology> wanted = ParseCpuTopology(WATCHSNAP_TOPOLOGY);
  if (!wanted.ok()) return wanted.status();
  EXPECT_EQ(Read(absl::StrCat(kCpus, "online")), Group(0, wanted->vcpus()));
  for (int cpu = 0; cpu < wanted->vcpus(); ++cpu) ExpectCpu(cpu, *wanted);

  const int nodes = wanted->numa_nodes;
  EXPECT_EQ(Read(absl::StrCat(kNodes, "online")), Group(0, nodes));
  const uint64_t share_kb = uint64_t{WATCHSNAP_MEMORY_MB} * 1024 / static_cast<uint64_t>(nodes);
  for (int node = 0; node < nodes; ++node) {
    SCOPED_TRACE(absl::StrCat("node ", node));
    const std::string folder = absl::StrCat(kNodes, "node", node, "/");
    EXPECT_EQ(Read(folder + "cpulist"),
              Group(node * wanted->vcpus_per_node(), wanted->vcpus_per_node()));
    std::string distances;
    for (int other = 0; other < nodes; ++other) {
      absl::StrAppend(&distances, other == 0 ? "" : " ", other == node ? 10 : 20);
    }
    EXPECT_EQ(Read(folder + "distance"), distances);
    // Some of it the kernel keeps for itself.
    EXPECT_GT(NodeMemoryKb(node), share_kb / 2);
    EXPECT_LE(NodeMemoryKb(node), share_kb + 2048);
  }
  return absl::OkStatus();
}

WATCH_SCENARIO(TopologyIsSeen) {
  return ExecuteSteps(
      ctx, {Step{.ops = {Op::Run("read /sys", ReadBack)}, .hold = HoldSpec::None()}});
}

POST_VM(TopologyIsSeen) { EXPECT_TRUE(result.scenario.has_value()); }

}  // namespace
}  // namespace watchsnap
