// CpuTopology: how the guest's CPUs are grouped, as counts at each level.
//
// Threads: a plain value. Ownership: none. Units: counts.
// A vCPU's index counts threads first, then cores, last-level caches (LLCs) and NUMA nodes: with
// two threads per core, indices 0 and 1 are siblings.
//
//   absl::StatusOr<CpuTopology> topology = ParseCpuTopology("numa=2,llcs=2,cores=2,threads=2");
//
// Errors: INVALID_ARGUMENT that names what is wrong, and shows what is wanted.
#ifndef WATCHSNAP_VMM_BOOT_CPU_TOPOLOGY_H_
#define WATCHSNAP_VMM_BOOT_CPU_TOPOLOGY_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace watchsnap {

struct CpuTopology {
  static constexpr int kMaxVcpus = 64;

  int numa_nodes = 1;
  int llcs_per_node = 1;
  int cores_per_llc = 1;
  int threads_per_core = 1;

  // `vcpus` cores without siblings under one cache in one node.
  static CpuTopology Flat(int vcpus) { return {1, 1, vcpus, 1}; }

  int vcpus() const { return numa_nodes * llcs_per_node * cores_per_llc * threads_per_core; }
  int vcpus_per_node() const { return llcs_per_node * cores_per_llc * threads_per_core; }
  int node_of(int index) const { return index / vcpus_per_node(); }
};

// "numa=2,llcs=2,cores=2,threads=2": in any order, each at most once; what is left out is 1.
absl::StatusOr<CpuTopology> ParseCpuTopology(std::string_view text);

// Every count is at least 1, and together they make at most kMaxVcpus.
absl::Status CheckCpuTopology(const CpuTopology& topology);

// All four levels, as ParseCpuTopology reads them.
std::string CpuTopologyText(const CpuTopology& topology);

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_BOOT_CPU_TOPOLOGY_H_
