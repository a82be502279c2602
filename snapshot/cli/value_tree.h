// A part of a capture as text for people: small things on one line, larger ones indented, stacks as
// frames, texts of several lines as they are.
//
// Threads: pure functions. A list of more than 256 elements is cut, and says how many are left out.
#ifndef WATCHSNAP_SNAPSHOT_CLI_VALUE_TREE_H_
#define WATCHSNAP_SNAPSHOT_CLI_VALUE_TREE_H_

#include <string>

#include "snapshot/report/json_document.h"

namespace watchsnap {

// With a line end after each line.
std::string ValueTree(JsonNode node);

// A scalar without quotes; anything else on one line.
std::string BareValue(JsonNode node);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_VALUE_TREE_H_
