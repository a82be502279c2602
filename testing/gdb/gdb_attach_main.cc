// The distribution's gdb attached to `watchsnap run --gdb` with the stock kernel: what it prints of a watched
// counter is what our own sidecar has of it. Arguments: the programs watchsnap and gdb, and a vmlinux.
//
// The vmlinux is booted directly, so that there is no slide; gdb gets addresses from its symbol table and
// reads no file: under emulation that would take it longer than all the rest.
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "debug/symbols/kernel_symbols.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/report/report.h"
#include "snapshot/report/sidecar_reader.h"
#include "testing/gdb/child_process.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kVcpus = 2;
constexpr int kWatchStops = 4;
constexpr absl::Duration kPatience = absl::Minutes(3);

std::string watchsnap_program, gdb_program, vmlinux;

using Pair = std::pair<uint64_t, uint64_t>;  // old value, new value

// What gdb printed of a watchpoint, in order.
std::vector<Pair> PairsOfGdb(std::string_view output) {
  std::vector<Pair> pairs;
  uint64_t old_value = 0, value = 0;
  for (std::string_view line : absl::StrSplit(output, '\n')) {
    if (absl::ConsumePrefix(&line, "Old value = ") && absl::SimpleAtoi(line, &value)) old_value = value;
    if (absl::ConsumePrefix(&line, "New value = ") && absl::SimpleAtoi(line, &value)) {
      pairs.emplace_back(old_value, value);
    }
  }
  return pairs;
}

class GdbAttachTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // A socket's path is short; that of TEST_TMPDIR may not be.
    char folder[] = "/tmp/watchsnap-gdb-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> Gdb(std::string_view name, std::string_view commands) {
    const std::string path = absl::StrCat(folder_, "/", name);
    std::ofstream(path) << "set pagination off\nset confirm off\nset width 0\nset remotetimeout 120\n"
                        << "target remote " << folder_ << "/gdb\n"
                        << commands;
    return {gdb_program, "-nx", "-batch", "-x", path};
  }

  std::string folder_;
};

TEST_F(GdbAttachTest, WhatGdbPrintsIsWhatTheSidecarHasAndTheGuestGoesOn) {
  const auto symbols = KernelSymbols::Open(vmlinux);
  ASSERT_THAT(symbols, IsOk());
  const auto counter = (*symbols)->ResolveData("total_forks");
  ASSERT_THAT(counter, IsOk());
  ASSERT_EQ(WatchLength(*counter), 8u);
  const absl::StatusOr<uint64_t> on_fork = (*symbols)->AddressOf("kernel_clone");
  const absl::StatusOr<uint64_t> on_exit = (*symbols)->AddressOf("do_exit");
  ASSERT_THAT(on_fork, IsOk());
  ASSERT_THAT(on_exit, IsOk());

  ChildProcess run({watchsnap_program, "run", "--vmlinux", vmlinux, "--cpus", absl::StrCat(kVcpus),
                    "--watch", "total_forks", "--gdb", absl::StrCat("unix:", folder_, "/gdb"),
                    "--sidecar-dir", folder_ + "/out", "--host", "direct", "--json", "--append", "quiet"});
  ASSERT_TRUE(run.WaitFor("watch armed: total_forks", kPatience)) << run.output();
  EXPECT_THAT(run.output(), HasSubstr(absl::StrCat("gdb -ex 'target remote ", folder_, "/gdb' ", vmlinux)));

  // A second run cannot have the same socket.
  ChildProcess other({watchsnap_program, "run", "--vmlinux", vmlinux, "--gdb",
                      absl::StrCat("unix:", folder_, "/gdb"), "--host", "direct"});
  EXPECT_EQ(other.Wait(), 2);
  EXPECT_THAT(other.output(), HasSubstr("already"));

  // The same 8 bytes as our own watch: one slot serves both.
  std::string commands = absl::StrFormat("echo @threads\\n\ninfo threads\ninfo registers rip gs_base cr3\n"
                                         "watch *(unsigned long *)%#x\n", counter->address);
  for (int i = 0; i < kWatchStops; ++i) absl::StrAppend(&commands, "continue\n");
  // Then a software and a hardware breakpoint, steps, and away.
  absl::StrAppendFormat(&commands,
                        "delete\n"
                        "tbreak *%#x\ncontinue\nprintf \"@fork %%#lx\\n\", $rip\n"
                        "stepi\nprintf \"@stepped %%#lx\\n\", $rip\n"
                        "thbreak *%#x\ncontinue\nprintf \"@exit %%#lx\\n\", $rip\n"
                        "detach\necho @detached\\n\n",
                        *on_fork, *on_exit);
  ChildProcess gdb(Gdb("attach.gdb", commands));
  ASSERT_TRUE(gdb.WaitFor("@detached", kPatience)) << gdb.output() << "\n-----\n" << run.output();
  EXPECT_EQ(gdb.Wait(), 0) << gdb.output();
  const std::string said = gdb.output();
  std::printf("gdb said:\n%s\n", said.c_str());

  for (int i = 0; i < kVcpus; ++i) {
    EXPECT_THAT(said, HasSubstr(absl::StrFormat("Thread %d (vCPU %d, in ", i + 1, i)));
  }
  EXPECT_THAT(said, Not(HasSubstr(absl::StrFormat("(vCPU %d", kVcpus))));
  EXPECT_THAT(said, HasSubstr(absl::StrFormat("@fork %#x", *on_fork)));
  EXPECT_THAT(said, HasSubstr("@stepped 0xffffffff"));
  EXPECT_THAT(said, Not(HasSubstr(absl::StrFormat("@stepped %#x", *on_fork))));
  EXPECT_THAT(said, HasSubstr(absl::StrFormat("@exit %#x", *on_exit)));

  // The guest goes on, and is captured: more forks than there were.
  const int before = run.Count("\"symbol\":\"total_forks\"");
  EXPECT_TRUE(run.WaitFor("\"symbol\":\"total_forks\"", kPatience, before + 3)) << run.output();

  // A slot that is taken is an error to gdb: half of our own watch's bytes cannot be watched besides.
  ChildProcess second(Gdb("taken.gdb", absl::StrFormat("watch *(unsigned int *)%#x\ncontinue\n",
                                                       counter->address)));
  EXPECT_NE(second.Wait(), 0);
  EXPECT_THAT(second.output(), HasSubstr("Could not insert hardware watchpoint"));
  EXPECT_THAT(run.output(), HasSubstr("gdb: "));
  const int then = run.Count("\"symbol\":\"total_forks\"");
  EXPECT_TRUE(run.WaitFor("\"symbol\":\"total_forks\"", kPatience, then + 2)) << run.output();

  run.Terminate();
  EXPECT_EQ(run.Wait(), 0) << run.output();
  EXPECT_THAT(run.output(), HasSubstr("captured, 0 coalesced, 0 suppressed, 0 lost"));

  const auto sidecar = ReadSidecar(folder_ + "/out/run.total_forks.snapshots.jsonl");
  ASSERT_THAT(sidecar, IsOk());
  std::vector<Pair> captured;
  for (const Report& report : sidecar->reports) {
    captured.emplace_back(report.trigger.old_value.value_or(0), report.trigger.new_value.value_or(0));
  }
  const std::vector<Pair> printed = PairsOfGdb(said);
  ASSERT_EQ(printed.size(), static_cast<size_t>(kWatchStops));
  // In the same order, without a gap: gdb stopped at every write.
  const auto first = std::search(captured.begin(), captured.end(), printed.begin(), printed.end());
  EXPECT_NE(first, captured.end()) << "gdb's values " << testing::PrintToString(printed)
                                   << " are not in the sidecar: " << testing::PrintToString(captured);
  for (const auto& [old_value, new_value] : printed) EXPECT_EQ(new_value, old_value + 1);
  for (size_t i = 1; i < captured.size(); ++i) EXPECT_EQ(captured[i].first, captured[i - 1].second);
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s WATCHSNAP GDB VMLINUX\n", argv[0]);
    return 2;
  }
  watchsnap::watchsnap_program = std::filesystem::absolute(argv[1]).string();
  watchsnap::gdb_program = std::filesystem::absolute(argv[2]).string();
  watchsnap::vmlinux = std::filesystem::absolute(argv[3]).string();
  return RUN_ALL_TESTS();
}
