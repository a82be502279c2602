// Reports for tests: one with every part filled, one with as little as a capture can have.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_REPORT_SAMPLES_H_
#define WATCHSNAP_SNAPSHOT_REPORT_REPORT_SAMPLES_H_

#include "snapshot/report/report.h"

namespace watchsnap {

inline Report FullReport() {
  Report report;
  report.tag = "jiffies_64";
  report.seq = 7;
  report.trigger = Trigger{
      .kind = TriggerKind::kWatch,
      .symbol = "jiffies_64",
      .address = 0xffffffff82a07980,
      .slot = 1,
      .vcpu = 1,
      .watched_bytes = 8,
      .symbol_bytes = 8,
      .old_value = 4294892296,
      .new_value = ~0ull,
      .guest_time_ns = 1234567890123,
      .host_time_ns = 777000111222,
      .freeze = 41,
      .writer = CodeLocation{.address = 0xffffffff8113f0c4,
                             .next_address = {},
                             .symbol = "tick_do_update_jiffies64",
                             .offset = 0x94,
                             .file = "kernel/time/tick-sched.c",
                             .line = 102,
                             .more = {{"inlined", R"([{"function":"do_timer"}])"}}},
      .more = {{"stack", R"([{"address":"0x1"}, {"address":"0x2"}])"}},
  };
  report.vcpus = {
      VcpuReport{.index = 0,
                 .registers = {{"rip", 0xffffffff81e3b2ef}, {"rsp", 0}},
                 .symbol = "pv_native_safe_halt",
                 .offset = 15,
                 .more = {{"task", R"({"pid":0,"comm":"swapper/0"})"}}},
      VcpuReport{.index = 1, .registers = {{"rip", ~0ull}}, .symbol = {}, .offset = {}, .more = {}},
  };
  report.cost = {.freeze_ns = 12000,
                 .evidence_ns = 3400,
                 .thaw_ns = 800,
                 .pause_ns = 16200,
                 .hidden_ns = 16000,
                 .evidence_bytes = 2048};
  report.degraded = {{"writer", "no room to decode \"before\" it"}};
  report.more = {{"maps", R"({"mini.bss":{"value":{"nr_enqueued":3}}})"},
                 {"answer", "42"},
                 {"nothing", "null"},
                 {"text", R"("a\nb")"}};
  return report;
}

inline Report SmallReport() {
  Report report;
  report.tag = "mid";
  report.trigger.kind = TriggerKind::kSnapshot;
  return report;
}

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_REPORT_SAMPLES_H_
