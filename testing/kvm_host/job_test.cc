#include "testing/kvm_host/job.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/kvm_host/protocol.h"

namespace watchsnap::kvm_host {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

std::string MakeDir(const std::string& name) {
  char resolved[4096];
  const std::string path = ::testing::TempDir() + name;
  mkdir(path.c_str(), 0755);
  return realpath(path.c_str(), resolved);
}

TEST(JobTest, PassesInWhatTestsNeedAndNoMore) {
  const char* environment[] = {"TEST_SHARD_INDEX=3",
                               "GTEST_FILTER=A.*",
                               "TSAN_OPTIONS=x=1",
                               "SECRET=s",
                               "RUNFILES_DIR=/r",
                               "WATCHSNAP_X=",
                               nullptr};
  const auto job =
      MakeJob({.argv = {"true"}, .env = {"MORE=a=b", "GTEST_FILTER=B.*"}}, environment);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(
      job->environment,
      IsSupersetOf({"TEST_SHARD_INDEX=3", "GTEST_FILTER=B.*", "TSAN_OPTIONS=x=1", "RUNFILES_DIR=/r",
                    "WATCHSNAP_X=", "MORE=a=b", "WATCHSNAP_INSIDE_KVM_HOST=1"}));
  EXPECT_THAT(job->environment, Not(Contains("SECRET=s")));
  EXPECT_THAT(job->environment, Not(Contains("GTEST_FILTER=A.*")));
}

TEST(JobTest, WritableFoldersAreRealAndNotNested) {
  const std::string outer = MakeDir("outer"), inner = MakeDir("outer/inner"),
                    other = MakeDir("outer2");
  const std::string xml = "XML_OUTPUT_FILE=" + other + "/test.xml", tmp = "TEST_TMPDIR=" + inner;
  const char* environment[] = {xml.c_str(), tmp.c_str(), "TEST_UNDECLARED_OUTPUTS_DIR=/not/there",
                               nullptr};
  const auto job =
      MakeJob({.argv = {"true"}, .writable = {inner, outer + "/../outer"}}, environment);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->writable, ElementsAre(outer, other));
}

TEST(JobTest, ThisProgramIsNamedByItsFile) {
  const auto job = MakeJob({.argv = {"/proc/self/exe", "x"}}, nullptr);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->arguments[0], HasSubstr("job_test"));
}

TEST(JobTest, RefusesWhatMakesNoSense) {
  const auto message = [](const KvmHostOptions& options) {
    const auto job = MakeJob(options, nullptr);
    EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(job.status().message());
  };
  EXPECT_THAT(message({}), HasSubstr("no command"));
  EXPECT_THAT(message({.argv = {"x"}, .cpus = 0}), HasSubstr("1 to 16 CPUs, not 0"));
  EXPECT_THAT(message({.argv = {"x"}, .memory_mb = 1}), HasSubstr("not 1"));
  EXPECT_THAT(message({.argv = {"x"}, .writable = {"/not/there"}}),
              HasSubstr("/not/there is not there"));
  EXPECT_THAT(message({.argv = {"x"}, .env = {"NAME"}}), HasSubstr("\"NAME\""));
  EXPECT_THAT(message({.argv = {"x"}, .working_dir = "/not/there"}), HasSubstr("/not/there"));
}

TEST(JobTest, Serialized) {
  const Job job = {
      .arguments = {"a", ""}, .environment = {"N=V"}, .writable = {"/w"}, .working_dir = "/d"};
  const char wire[] = "aa\0a\0eN=V\0w/w\0c/d\0";  // and the empty string at its end
  EXPECT_EQ(job.Serialize(), std::string(wire, sizeof(wire)));
}

}  // namespace
}  // namespace watchsnap::kvm_host
