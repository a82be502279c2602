// A scheduler that works: one queue for all CPUs, first in first out, and counters of every shape
// that a capture reads.
//
// Its globals are the map "fifo.bss" (nr_enqueued, nr_dispatched, last), what it may not change
// "fifo.rodata". An enqueue and the counter that says so are not one instant: nr_enqueued may be
// ahead by one for each CPU.
#include "testing/bpf/scx.h"

#define QUEUE 0x5ca1ab1eull

// By event, on each CPU.
enum fifo_event { FIFO_ENQUEUED = 0, FIFO_RUNNING = 1, FIFO_STOPPING = 2, FIFO_EVENTS = 3 };

struct fifo_last {
  u32 pid;
  s32 cpu;
  u64 at_ns;
  char comm[16];
};

struct fifo_task {
  u64 runs;
  u64 last_ran_ns;
};

const volatile u64 slice_ns = SLICE_NS;

u64 nr_enqueued;
u64 nr_dispatched;
struct fifo_last last;

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, FIFO_EVENTS);
  __type(key, u32);
  __type(value, u64);
} events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1024);
  __type(key, u32);
  __type(value, struct fifo_task);
} tasks SEC(".maps");

static void count(u32 event) {
  u64* counter = bpf_map_lookup_elem(&events, &event);
  if (counter) ++*counter;
}

SEC("struct_ops/fifo_select_cpu")
s32 BPF_PROG(fifo_select_cpu, struct task_struct* p, s32 prev_cpu, u64 wake_flags) {
  bool is_idle = false;
  return scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);
}

SEC("struct_ops/fifo_enqueue")
void BPF_PROG(fifo_enqueue, struct task_struct* p, u64 enq_flags) {
  __sync_fetch_and_add(&nr_enqueued, 1);
  count(FIFO_ENQUEUED);
  scx_bpf_dsq_insert(p, QUEUE, slice_ns, enq_flags);
}

SEC("struct_ops/fifo_dispatch")
void BPF_PROG(fifo_dispatch, s32 cpu, struct task_struct* prev) {
  if (scx_bpf_dsq_move_to_local(QUEUE)) __sync_fetch_and_add(&nr_dispatched, 1);
}

SEC("struct_ops/fifo_running")
void BPF_PROG(fifo_running, struct task_struct* p) {
  u32 pid = p->pid;
  struct fifo_task* known = bpf_map_lookup_elem(&tasks, &pid);
  u64 now = bpf_ktime_get_ns();
  count(FIFO_RUNNING);
  if (known) {
    ++known->runs;
    known->last_ran_ns = now;
  } else {
    struct fifo_task first = {.runs = 1, .last_ran_ns = now};
    bpf_map_update_elem(&tasks, &pid, &first, BPF_ANY);
  }
  last.pid = pid;
  last.cpu = bpf_get_smp_processor_id();
  last.at_ns = now;
  bpf_probe_read_kernel_str(last.comm, sizeof(last.comm), p->comm);
}

SEC("struct_ops/fifo_stopping")
void BPF_PROG(fifo_stopping, struct task_struct* p, bool runnable) { count(FIFO_STOPPING); }

SEC("struct_ops.s/fifo_init")
s32 BPF_PROG(fifo_init) { return scx_bpf_create_dsq(QUEUE, -1); }

SCX_OPS(watchsnap_fifo, .select_cpu = (void*)fifo_select_cpu, .enqueue = (void*)fifo_enqueue,
        .dispatch = (void*)fifo_dispatch, .running = (void*)fifo_running,
        .stopping = (void*)fifo_stopping, .init = (void*)fifo_init, .timeout_ms = 2000);
