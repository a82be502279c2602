#include "testing/scenarios/failure_dumps.h"

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/report/sidecar_file.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOkAndHolds;
using ::testing::Eq;
using ::testing::HasSubstr;

void ExpectFailure(const Snapshot& dump, const ExpectedDump& expected) {
  EXPECT_THAT(dump.Get("trigger.kind").AsStr(), IsOkAndHolds(Eq("exit_kind")));
  EXPECT_THAT(dump.Get("trigger.old").AsU64(), IsOkAndHolds(Eq(0u)));
  if (expected.has_slot) {
    EXPECT_THAT(dump.Get("trigger.slot").AsU64(), IsOkAndHolds(Eq(0u)));
  } else {
    EXPECT_FALSE(dump.Get("trigger.slot").AsU64().ok()) << "no slot, and none is claimed";
  }
  EXPECT_THAT(dump.Get("scx.exit.kind").AsStr(), IsOkAndHolds(Eq(expected.kind)));
  EXPECT_THAT(dump.Get("scx.exit.msg").AsStr(), IsOkAndHolds(HasSubstr(expected.message)));
  EXPECT_THAT(dump.Get("scx.root.ops_name").AsStr(), IsOkAndHolds(Eq(expected.scheduler)));
  std::string stack;
  for (int frame = 0;; ++frame) {
    absl::StatusOr<std::string> symbol =
        dump.Get(absl::StrCat("trigger.stack[", frame, "].symbol")).AsStr();
    if (!symbol.ok()) break;
    absl::StrAppend(&stack, *symbol, "\n");
  }
  for (const std::string& function : expected.functions) {
    EXPECT_THAT(stack, HasSubstr(function)) << "in the stack of the write";
  }
}

}  // namespace

Snapshot ExpectDump(const VmResult& result, size_t index, const ExpectedDump& expected) {
  SCOPED_TRACE(absl::StrCat("failure dump ", index + 1, ": ", expected.kind));
  const std::vector<CaptureEntry> kept = result.snapshot_bridge->ByTag(kExitKindTag);
  if (result.failure_dumps.size() <= index || kept.size() <= index) {
    ADD_FAILURE() << "the run left " << result.failure_dumps.size() << " dumps and "
                  << kept.size() << " captures of them; the trigger was "
                  << result.exit_kind_trigger;
    return Snapshot(absl::NotFoundError("no such dump"));
  }
  ExpectFailure(Snapshot(kept[index].report), expected);
  absl::StatusOr<SidecarFile> file = SidecarFile::Open(result.failure_dumps[index]);
  if (!file.ok()) {
    ADD_FAILURE() << file.status();
    return Snapshot(file.status());
  }
  EXPECT_EQ(file->size(), 1u) << "a failure dump is one document";
  Snapshot dump(file->Document(0));
  ExpectFailure(dump, expected);
  return dump;
}

}  // namespace watchsnap
