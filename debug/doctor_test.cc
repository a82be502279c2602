#include "debug/doctor.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simdjson.h"

namespace watchsnap {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

DoctorReport ReportWith(SlotOutcome outcome) {
  SelfTestResult result;
  result.slots.assign(4, {outcome, outcome == SlotOutcome::kRefuses ? "said \"no\"\n" : ""});
  return {.kvm_path = "/dev/kvm",
          .checks = {{"KVM_CAP_X", true, true, "1", ""}, {"KVM_CAP_Y", false, false, "0", "for y"}},
          .self_test = result,
          .plugins = {{"hw_watch", {.user_watches = 3, .has_reserved_slot = true}},
                      {"other",
                       {.user_watches = kUnlimitedWatches},
                       absl::OkStatus(),
                       absl::FailedPreconditionError("not \"atomic\"")}},
          .routes = {{"direct", false, "why not"}}};
}

TEST(DoctorTest, AMissingDeviceIsAFindingWithAdvice) {
  const DoctorReport report = RunDoctor("/nonexistent/kvm");
  EXPECT_FALSE(report.RequiredChecksOk());
  EXPECT_FALSE(report.self_test.ok());
  ASSERT_EQ(report.routes.size(), 1u);
  EXPECT_FALSE(report.AnyRouteUsable());
  EXPECT_THAT(DoctorText(report), AllOf(HasSubstr("MISSING   /nonexistent/kvm: No such file"),
                                        HasSubstr("emulated KVM host")));
}

TEST(DoctorTest, ThisMachinesKvmIsJudgedByItsSelfTest) {
  const DoctorReport report = RunDoctor();
  ASSERT_TRUE(report.RequiredChecksOk()) << DoctorText(report);
  ASSERT_TRUE(report.self_test.ok()) << report.self_test.status();
  EXPECT_EQ(report.routes[0].usable, report.self_test->AllDeliver());
  ASSERT_EQ(report.plugins.size(), 2u);
  EXPECT_EQ(report.plugins[0].name, "hw_watch");
  EXPECT_EQ(report.plugins[0].on_one_vcpu.ok(), report.self_test->AllDeliver());
  EXPECT_EQ(report.plugins[0].on_several_vcpus.ok(), report.self_test->AllDeliver());
  EXPECT_EQ(report.plugins[1].name, "page_watch");
  EXPECT_TRUE(report.plugins[1].on_one_vcpu.ok()) << report.plugins[1].on_one_vcpu;
}

TEST(DoctorTest, SaysOfEachPluginWhetherItWorksHere) {
  const std::string text = DoctorText(ReportWith(SlotOutcome::kDelivers));
  EXPECT_THAT(text, AllOf(HasSubstr("    ok        works here\n"),
                          HasSubstr("    ok        works here with one vCPU\n"),
                          HasSubstr("    no        does not work here with several vCPUs: not \"atomic\"")));
}

TEST(DoctorTest, TextSaysNeverDeliversOnlyWhereItIsSo) {
  EXPECT_THAT(
      DoctorText(ReportWith(SlotOutcome::kNeverDelivers)),
      AllOf(HasSubstr("slot 0 (reserved for the exit-kind trigger): accepts a watch and never "
                      "delivers a hit"),
            HasSubstr("slot 3: accepts")));
  EXPECT_THAT(DoctorText(ReportWith(SlotOutcome::kDelivers)),
              AllOf(Not(HasSubstr("never delivers")), HasSubstr("slot 3: delivers"),
                    HasSubstr("without   KVM_CAP_Y: 0  [for y]"),
                    HasSubstr("other: any number of watches")));
  EXPECT_THAT(DoctorText(ReportWith(SlotOutcome::kRefuses)), HasSubstr("refuses a watch (said"));
}

TEST(DoctorTest, JsonReadsBack) {
  DoctorReport report = ReportWith(SlotOutcome::kRefuses);
  simdjson::dom::parser parser;
  simdjson::dom::element document = parser.parse(DoctorJson(report)).value();
  EXPECT_EQ(std::string_view(document["schema"]), "watchsnap.doctor/1");
  EXPECT_EQ(std::string_view(document["hw_watch"]["slots"].at(3)["outcome"]), "refuses");
  EXPECT_EQ(std::string_view(document["hw_watch"]["slots"].at(3)["detail"]), "said \"no\"\n");
  EXPECT_EQ(int64_t(document["plugins"].at(0)["user_watches"]), 3);
  EXPECT_TRUE(document["plugins"].at(1)["user_watches"].is_null());
  EXPECT_TRUE(bool(document["plugins"].at(1)["here"].at(0)["works"]));
  EXPECT_FALSE(bool(document["plugins"].at(1)["here"].at(1)["works"]));
  EXPECT_EQ(std::string_view(document["plugins"].at(1)["here"].at(1)["vcpus"]), "several");
  EXPECT_EQ(std::string_view(document["plugins"].at(1)["here"].at(1)["why"]), "not \"atomic\"");
  EXPECT_FALSE(bool(document["usable"]));
  report.routes.push_back({"emulated", true, "QEMU"});
  report.self_test = absl::NotFoundError("none");
  document = parser.parse(DoctorJson(report)).value();
  EXPECT_TRUE(bool(document["usable"]));
  EXPECT_EQ(std::string_view(document["hw_watch"]["error"]), "none");
}

}  // namespace
}  // namespace watchsnap
