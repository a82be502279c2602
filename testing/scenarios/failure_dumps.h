// Checks on the failure dumps of a run, for POST_VM bodies: failures are gtest's.
//
// Threads: the test's.
#ifndef WATCHSNAP_TESTING_SCENARIOS_FAILURE_DUMPS_H_
#define WATCHSNAP_TESTING_SCENARIOS_FAILURE_DUMPS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "snapshot/accessor/snapshot.h"
#include "snapshot/vm_session.h"

namespace watchsnap {

struct ExpectedDump {
  std::string kind;               // "SCX_EXIT_ERROR_BPF"
  std::string scheduler;          // ops.name
  std::string message;            // a part of it
  std::vector<std::string> functions;  // in the stack of the very write
  bool has_slot = true;  // false: under a plugin without a reserved slot
};

// The `index`-th dump of the run, read back from its file, is of this failure, and the bridge has the
// same one. Returns it for further checks.
Snapshot ExpectDump(const VmResult& result, size_t index, const ExpectedDump& expected);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIOS_FAILURE_DUMPS_H_
