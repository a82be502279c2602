// A scheduler that works for a moment and then ends itself, cleanly: SCX_EXIT_UNREG_BPF, which is
// no error.
//
// Globals: "unload.bss" (nr_enqueued, started_ns, ended_ns), "unload.rodata" (unload_after_ns).
#include "testing/bpf/scx.h"

const volatile u64 unload_after_ns = 300ull * 1000 * 1000;

u64 nr_enqueued;
u64 started_ns;
u64 ended_ns;

SEC("struct_ops/unload_enqueue")
void BPF_PROG(unload_enqueue, struct task_struct* p, u64 enq_flags) {
  u64 now = bpf_ktime_get_ns();
  u64 count = __sync_fetch_and_add(&nr_enqueued, 1) + 1;
  scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, SLICE_NS, enq_flags);
  if (started_ns == 0) started_ns = now;
  if (ended_ns == 0 && now - started_ns > unload_after_ns) {
    ended_ns = now;
    SCX_EXIT(7, "watchsnap_unload is done after %llu tasks", count);
  }
}

SCX_OPS(watchsnap_unload, .enqueue = (void*)unload_enqueue);
