// A guest that panics leaves one last capture, with what all its vCPUs were doing.
#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

// Documentation/admin-guide/sysrq.rst: "c" crashes the kernel by a NULL dereference or panic().
absl::Status CrashTheKernel(ScenarioContext&) {
  const int fd = open("/proc/sysrq-trigger", O_WRONLY);
  if (fd < 0) return absl::ErrnoToStatus(errno, "open /proc/sysrq-trigger");
  const ssize_t written = write(fd, "c", 1);
  close(fd);
  return absl::InternalError(
      absl::StrCat("the kernel did not crash; write() returned ", written));
}

WATCH_SCENARIO(Panic) {
  return ExecuteSteps(ctx, {Step{.ops = {Op::Run("crash the kernel", CrashTheKernel)}}});
}
EXPECT_GUEST_END(Panic, RunEndKind::kPanic);

POST_VM(Panic) {
  const std::vector<CaptureEntry> captures = result.snapshot_bridge->ByTag(kFinalTag);
  ASSERT_EQ(captures.size(), 1u);
  const Report& report = captures[0].report;
  EXPECT_EQ(captures[0].kind, TriggerKind::kFinal);
  std::string stacks;
  for (const VcpuReport& vcpu : report.vcpus) {
    if (const std::string* stack = FindMember(vcpu.more, "stack")) stacks += *stack;
  }
  EXPECT_THAT(stacks, HasSubstr("sysrq_handle_crash"));
  EXPECT_THAT(stacks, HasSubstr("write_sysrq_trigger"));
  const std::string* tail = FindMember(report.more, "console_tail");
  ASSERT_NE(tail, nullptr);
  EXPECT_THAT(*tail, HasSubstr("Kernel panic - not syncing"));
  const std::string* end = FindMember(report.trigger.more, "end");
  ASSERT_NE(end, nullptr);
  EXPECT_THAT(*end, HasSubstr("panic"));
  EXPECT_THAT(result.sidecars, ::testing::Contains(HasSubstr("Panic.final.snapshots.jsonl")));
}

}  // namespace
}  // namespace watchsnap
