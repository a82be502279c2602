// Checks on what a run left, as many scenarios want them. For POST_VM bodies: failures are gtest's.
//
// Threads: the test's.
#ifndef WATCHSNAP_TESTING_SCENARIOS_CAPTURES_H_
#define WATCHSNAP_TESTING_SCENARIOS_CAPTURES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snapshot/report/report.h"
#include "snapshot/vm_session.h"

namespace watchsnap {

// The hits of one watch in order, taken from the bridge (which keeps them).
std::vector<Report> HitsOf(const VmResult& result, std::string_view symbol);

// Every hit was captured: nothing coalesced, suppressed or lost, and as many reports as hits.
void ExpectEveryHitCaptured(const VmResult& result, std::string_view symbol);

// Each hit's old value is the one before's new value; with `step`, each new value is old + step.
void ExpectChain(const std::vector<Report>& hits, std::optional<uint64_t> step = std::nullopt);

// The names of the functions that wrote.
std::vector<std::string> WritersOf(const std::vector<Report>& hits);

// The sidecar of `symbol` on disk is as schema.md says, and holds the same captures and the same
// counters as the result.
void ExpectSidecarAgrees(const VmResult& result, std::string_view symbol);

// What the guest's part of the scenario noted as "NAME=VALUE"; fails the test if it did not.
std::string NoteOf(const VmResult& result, std::string_view name);

// The same as a number that the guest wrote with 0x in front.
uint64_t HexNoteOf(const VmResult& result, std::string_view name);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIOS_CAPTURES_H_
