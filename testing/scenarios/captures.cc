#include "testing/scenarios/captures.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/report/schema_check.h"
#include "snapshot/report/sidecar_reader.h"

namespace watchsnap {
namespace {

// More say the same thing.
constexpr int kMostFailuresShown = 5;

const WatchCounters& CountersOf(const VmResult& result, std::string_view symbol) {
  static const WatchCounters none;
  const auto found = result.watches.find(std::string(symbol));
  EXPECT_TRUE(found != result.watches.end()) << "no counters of " << symbol;
  return found == result.watches.end() ? none : found->second;
}

}  // namespace

std::vector<Report> HitsOf(const VmResult& result, std::string_view symbol) {
  std::vector<Report> hits;
  for (CaptureEntry& entry : result.snapshot_bridge->ByTag(symbol)) {
    if (entry.kind == TriggerKind::kWatch) hits.push_back(std::move(entry.report));
  }
  return hits;
}

void ExpectEveryHitCaptured(const VmResult& result, std::string_view symbol) {
  const WatchCounters& counters = CountersOf(result, symbol);
  EXPECT_EQ(counters.armed, 1u) << symbol;
  EXPECT_EQ(counters.captured, counters.hits) << symbol;
  EXPECT_EQ(counters.coalesced, 0u) << symbol;
  EXPECT_EQ(counters.suppressed, 0u) << symbol;
  EXPECT_EQ(counters.lost, 0u) << symbol;
  EXPECT_EQ(HitsOf(result, symbol).size(), counters.hits) << symbol;
}

void ExpectChain(const std::vector<Report>& hits, std::optional<uint64_t> step) {
  int failures = 0;
  for (size_t i = 0; i < hits.size() && failures < kMostFailuresShown; ++i) {
    const Trigger& trigger = hits[i].trigger;
    if (!trigger.old_value.has_value() || !trigger.new_value.has_value()) {
      ADD_FAILURE() << "hit " << i << " of " << hits[i].tag << " has no old and new value";
      ++failures;
      continue;
    }
    if (i > 0 && hits[i - 1].trigger.new_value != trigger.old_value) {
      ADD_FAILURE() << "hit " << i << " of " << hits[i].tag << ": old value " << *trigger.old_value
                    << ", but the hit before left " << hits[i - 1].trigger.new_value.value_or(0);
      ++failures;
    }
    if (step.has_value() && *trigger.old_value + *step != *trigger.new_value) {
      ADD_FAILURE() << "hit " << i << " of " << hits[i].tag << ": " << *trigger.old_value << " -> "
                    << *trigger.new_value << ", a step of " << *step << " was expected";
      ++failures;
    }
  }
}

std::vector<std::string> WritersOf(const std::vector<Report>& hits) {
  std::vector<std::string> writers;
  for (const Report& hit : hits) {
    const std::string writer = hit.trigger.writer.has_value() ? hit.trigger.writer->symbol : "";
    if (std::find(writers.begin(), writers.end(), writer) == writers.end())
      writers.push_back(writer);
  }
  return writers;
}

void ExpectSidecarAgrees(const VmResult& result, std::string_view symbol) {
  const std::string ending = absl::StrCat(".", symbol, ".snapshots.jsonl");
  const auto path =
      std::find_if(result.sidecars.begin(), result.sidecars.end(),
                   [&](const std::string& one) { return absl::EndsWith(one, ending); });
  ASSERT_TRUE(path != result.sidecars.end()) << "no sidecar ends with " << ending;
  const absl::Status schema = CheckFileSchema(*path);
  EXPECT_TRUE(schema.ok()) << schema;
  absl::StatusOr<Sidecar> sidecar = ReadSidecar(*path);
  ASSERT_TRUE(sidecar.ok()) << sidecar.status();
  EXPECT_FALSE(sidecar->torn_line.has_value());
  ASSERT_TRUE(sidecar->summary.has_value()) << *path << " has no last line";
  EXPECT_EQ(CountersText(*sidecar->summary), CountersText(CountersOf(result, symbol)));
  const std::vector<Report> hits = HitsOf(result, symbol);
  ASSERT_EQ(sidecar->reports.size(), hits.size());
  for (size_t i = 0; i < hits.size(); ++i) {
    ASSERT_TRUE(sidecar->reports[i] == hits[i])
        << *path << ", capture " << i << " differs from the bridge's";
  }
}

std::string NoteOf(const VmResult& result, std::string_view name) {
  for (const std::string& detail : result.scenario->details) {
    std::string_view value = detail;
    if (absl::ConsumePrefix(&value, absl::StrCat(name, "="))) return std::string(value);
  }
  ADD_FAILURE() << "the guest's part noted no " << name;
  return "";
}

uint64_t HexNoteOf(const VmResult& result, std::string_view name) {
  const std::string text = NoteOf(result, name);
  uint64_t value = 0;
  EXPECT_TRUE(absl::SimpleHexAtoi(text, &value)) << name << "=" << text;
  return value;
}

}  // namespace watchsnap
