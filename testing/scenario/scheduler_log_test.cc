#include "testing/scenario/scheduler_log.h"

#include <string>

#include "gtest/gtest.h"

namespace watchsnap {
namespace {

TEST(SchedulerLog, AnErrorWithItsMessage) {
  SchedulerLog log;
  log.AddRecord("6,100,1000,-;sched_ext: BPF scheduler \"mini\" enabled\n");
  EXPECT_TRUE(log.ends().empty());
  log.AddRecord("3,101,2000,-;sched_ext: BPF scheduler \"mini\" disabled (scx_bpf_error)\n");
  log.AddRecord("3,102,2001,-;sched_ext: mini: no luck: none at all\n SUBSYSTEM=x\n");
  log.AddRecord("4,103,2002,-;   scx_bpf_error_bstr+0x5f/0x70\n");
  ASSERT_EQ(log.ends().size(), 1u);
  EXPECT_TRUE(log.ends()[0].error);
  EXPECT_EQ(log.ends()[0].Text(),
            "scheduler 'mini' was disabled by the kernel: scx_bpf_error: no luck: none at all");
}

TEST(SchedulerLog, AnEndThatIsNoErrorAndWithoutAMessage) {
  SchedulerLog log;
  log.AddRecord("6,1,1,-;sched_ext: BPF scheduler \"a b\" disabled (unregistered from user space)");
  ASSERT_EQ(log.ends().size(), 1u);
  EXPECT_FALSE(log.ends()[0].error);
  EXPECT_EQ(log.ends()[0].name, "a b");
  EXPECT_EQ(log.ends()[0].reason, "unregistered from user space");
  EXPECT_EQ(log.ends()[0].message, "");
}

TEST(SchedulerLog, SubSchedulersTwoInARowAndFacilities) {
  SchedulerLog log;
  log.AddRecord("11,1,1,-;sched_ext: BPF sub-scheduler \"inner\" disabled (a (nested) reason)");
  log.AddRecord("3,2,1,-;sched_ext: BPF scheduler \"outer\" disabled (runnable task stall)");
  log.AddRecord("3,3,1,-;sched_ext: inner: too late, another one ended since");
  log.AddRecord("3,4,1,-;sched_ext: outer: x[3] failed to run for 1.001s");
  ASSERT_EQ(log.ends().size(), 2u);
  EXPECT_TRUE(log.ends()[0].error) << "level 3 of facility 1";
  EXPECT_EQ(log.ends()[0].reason, "a (nested) reason");
  EXPECT_EQ(log.ends()[0].message, "");
  EXPECT_EQ(log.ends()[1].message, "x[3] failed to run for 1.001s");
}

TEST(SchedulerLog, OtherRecordsArePassedOver) {
  SchedulerLog log;
  for (const char* record :
       {"", ";", "3,1,1,-", "x,1,1,-;sched_ext: BPF scheduler \"a\" disabled (b)",
        "3,1,1,-;usb: BPF scheduler \"a\" disabled (b)", "3,1,1,-;sched_ext: BPF \" disabled (",
        "3,1,1,-;sched_ext: BPF scheduler \"a\" disabled (", "3,1,1,-;sched_ext: BPF "}) {
    log.AddRecord(record);
  }
  EXPECT_TRUE(log.ends().empty());
}

}  // namespace
}  // namespace watchsnap
