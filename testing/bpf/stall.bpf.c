// A scheduler that works for a moment and then lets one task wait for ever: its own loader. The
// kernel's watchdog disables it with SCX_EXIT_ERROR_STALL.
//
// Globals: "stall.bss" (nr_enqueued, started_ns, stalled_pid, stalled_ns), "stall.rodata".
#include "testing/bpf/scx.h"

const volatile u64 stall_after_ns = 300ull * 1000 * 1000;

u64 nr_enqueued;
u64 started_ns;
u32 stalled_pid;
u64 stalled_ns;

// The task that stalls is in need of waking up: testing/bpf's loader does so several times a
// second.
static bool is_victim(struct task_struct* p) {
  static const char victim[] = "bpf_loader";
  char comm[16] = {};
  bpf_probe_read_kernel_str(comm, sizeof(comm), p->comm);
  for (u32 i = 0; i < sizeof(victim); ++i) {
    if (comm[i] != victim[i]) return false;
  }
  return true;
}

// Without it the kernel would hand a task to an idle CPU and not ask enqueue.
SEC("struct_ops/stall_select_cpu")
s32 BPF_PROG(stall_select_cpu, struct task_struct* p, s32 prev_cpu, u64 wake_flags) {
  return prev_cpu;
}

SEC("struct_ops/stall_enqueue")
void BPF_PROG(stall_enqueue, struct task_struct* p, u64 enq_flags) {
  u64 now = bpf_ktime_get_ns();
  __sync_fetch_and_add(&nr_enqueued, 1);
  if (started_ns == 0) started_ns = now;
  if (now - started_ns > stall_after_ns && is_victim(p)) {
    if (stalled_ns == 0) {
      stalled_pid = p->pid;
      stalled_ns = now;
    }
    return;
  }
  scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, SLICE_NS, enq_flags);
}

SCX_OPS(watchsnap_stall, .select_cpu = (void*)stall_select_cpu, .enqueue = (void*)stall_enqueue,
        .timeout_ms = 1000);
