#include "vmm/boot/cpu_topology.h"

#include <cstdint>
#include <iterator>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace watchsnap {
namespace {

constexpr char kWanted[] =
    "wanted are counts of numa (nodes), llcs (last-level caches in each node), cores (in each LLC) "
    "and threads (of each core), like numa=2,llcs=2,cores=2,threads=2; what is left out is 1";

struct Level {
  std::string_view name;
  int CpuTopology::*count;
};
constexpr Level kLevels[] = {{"numa", &CpuTopology::numa_nodes},
                             {"llcs", &CpuTopology::llcs_per_node},
                             {"cores", &CpuTopology::cores_per_llc},
                             {"threads", &CpuTopology::threads_per_core}};

}  // namespace

absl::StatusOr<CpuTopology> ParseCpuTopology(std::string_view text) {
  const auto wrong = [text](std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("topology '", text, "': ", what, "; ", kWanted));
  };
  CpuTopology topology;
  bool given[std::size(kLevels)] = {};
  for (std::string_view item : absl::StrSplit(text, ',')) {
    const std::pair<std::string_view, std::string_view> pair =
        absl::StrSplit(item, absl::MaxSplits('=', 1));
    size_t i = 0;
    while (i < std::size(kLevels) && kLevels[i].name != pair.first) ++i;
    if (i == std::size(kLevels)) return wrong(absl::StrCat("there is no '", pair.first, "'"));
    if (given[i]) return wrong(absl::StrCat("'", pair.first, "' is given twice"));
    given[i] = true;
    int count = 0;
    // SimpleAtoi would overlook spaces and take a sign.
    const bool digits = pair.second.find_first_not_of("0123456789") == pair.second.npos;
    if (!digits || !absl::SimpleAtoi(pair.second, &count) || count < 1 || count > CpuTopology::kMaxVcpus) {
      return wrong(absl::StrCat("'", item, "' is no count from 1 to ", CpuTopology::kMaxVcpus));
    }
    topology.*kLevels[i].count = count;
  }
  absl::Status status = CheckCpuTopology(topology);
  if (!status.ok()) return status;
  return topology;
}

absl::Status CheckCpuTopology(const CpuTopology& topology) {
  int64_t vcpus = 1;
  for (const Level& level : kLevels) {
    const int count = topology.*level.count;
    if (count < 1 || count > CpuTopology::kMaxVcpus) {
      return absl::InvalidArgumentError(
          absl::StrCat("topology '", CpuTopologyText(topology), "': '", level.name, "=", count,
                       "' is no count from 1 to ", CpuTopology::kMaxVcpus, "; ", kWanted));
    }
    vcpus *= count;
  }
  if (vcpus > CpuTopology::kMaxVcpus) {
    return absl::InvalidArgumentError(
        absl::StrCat("topology '", CpuTopologyText(topology), "': these are ", vcpus,
                     " vCPUs; a machine has 1 to ", CpuTopology::kMaxVcpus));
  }
  return absl::OkStatus();
}

std::string CpuTopologyText(const CpuTopology& topology) {
  std::string text;
  for (const Level& level : kLevels) {
    absl::StrAppend(&text, text.empty() ? "" : ",", level.name, "=", topology.*level.count);
  }
  return text;
}

}  // namespace watchsnap
