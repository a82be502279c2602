// What changed between two captures.
//
// Elements of lists are matched by what they are (an entry's key, a vCPU's index, a task's pid), not
// by their place, so that an entry that went shows as one that went. Stacks are compared as a whole.
// Threads: pure functions.
#ifndef WATCHSNAP_SNAPSHOT_CLI_CAPTURE_DIFF_H_
#define WATCHSNAP_SNAPSHOT_CLI_CAPTURE_DIFF_H_

#include <optional>
#include <string>
#include <vector>

#include "snapshot/report/json_document.h"

namespace watchsnap {

struct Difference {
  std::string group;           // "trigger", "vcpus[1]", "maps.counters": what it is a part of
  std::string path;            // in the second capture; of what is gone, in the first
  std::string label;           // which element it is, where the path goes by number: "key 7"
  std::optional<JsonNode> a;   // absent: it is new
  std::optional<JsonNode> b;   // absent: it is gone
  std::optional<std::string> delta;  // "+5", of integers
};

std::vector<Difference> DiffCaptures(JsonNode a, JsonNode b);

std::string DiffText(const std::vector<Difference>& differences);
std::string DiffJson(const std::vector<Difference>& differences);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_CAPTURE_DIFF_H_
