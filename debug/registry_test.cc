#include "debug/registry.h"

#include <memory>

#include "absl/status/status_matchers.h"
#include "debug/debug_target_fake.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

class NullDevice : public DebugDevice {
 public:
  std::string_view Name() const override { return "null"; }
  DebugCapabilities Capabilities() const override { return {}; }
  absl::StatusOr<WatchId> Arm(const WatchSpec&) override { return kNoWatch; }
  absl::Status Disarm(WatchId) override { return absl::OkStatus(); }
  void OnExit(int, const kvm_debug_exit_arch&, WatchHits& hits) override { hits.count = 0; }
};

REGISTER_DEBUG_DEVICE("null", [](DebugTarget&) -> std::unique_ptr<DebugDevice> {
  return std::make_unique<NullDevice>();
});

TEST(RegistryTest, BuiltInAndAddedPluginsAreFoundByName) {
  EXPECT_THAT(DebugDeviceNames(), AllOf(Contains("hw_watch"), Contains("null")));
  DebugTargetFake target(1);
  for (const std::string& name : DebugDeviceNames()) {
    absl::StatusOr<std::unique_ptr<DebugDevice>> device = CreateDebugDevice(name, target);
    ASSERT_THAT(device, IsOk());
    EXPECT_EQ((*device)->Name(), name);
  }
  EXPECT_TRUE(target.changes().empty()) << "a factory does nothing to the machine";
}

TEST(RegistryTest, AnUnknownNameIsAnErrorThatListsTheKnown) {
  DebugTargetFake target(1);
  EXPECT_THAT(CreateDebugDevice("hw_wacth", target),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("'hw_wacth'"), HasSubstr("hw_watch, null"))));
}

TEST(RegistryDeathTest, TheSameNameTwiceIsABugInTheBuild) {
  EXPECT_DEATH(RegisterDebugDevice("null", nullptr), "'null'");
}

}  // namespace
}  // namespace watchsnap
