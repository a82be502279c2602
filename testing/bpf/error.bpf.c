// A scheduler that works for a moment and then gives up by scx_bpf_error: the kernel disables it
// with SCX_EXIT_ERROR_BPF and this message.
//
// Globals: "error.bss" (nr_enqueued, started_ns, failed_ns), "error.rodata" (error_after_ns).
#include "testing/bpf/scx.h"

const volatile u64 error_after_ns = 300ull * 1000 * 1000;

u64 nr_enqueued;
u64 started_ns;
u64 failed_ns;

SEC("struct_ops/error_enqueue")
void BPF_PROG(error_enqueue, struct task_struct* p, u64 enq_flags) {
  u64 now = bpf_ktime_get_ns();
  u64 count = __sync_fetch_and_add(&nr_enqueued, 1) + 1;
  scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, SLICE_NS, enq_flags);
  if (started_ns == 0) started_ns = now;
  if (failed_ns == 0 && now - started_ns > error_after_ns) {
    failed_ns = now;
    SCX_ERROR("watchsnap_error gives up on purpose after %llu tasks", count);
  }
}

SCX_OPS(watchsnap_error, .enqueue = (void*)error_enqueue);
