// A map of every kind that captures read, and globals in every section. Programs fill some of it,
// run by BPF_PROG_TEST_RUN; the scenario writes the rest from user space.
#include <vmlinux.h>
//
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "testing/bpf/maps.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} numbers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, struct maps_key);
  __type(value, struct maps_counter);
} counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, struct maps_counter);
} recent SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u64);
} cpu_totals SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(max_entries, 16);
  __type(key, __u64);
  __type(value, struct maps_counter);
} cpu_counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct maps_note);
} notes SEC(".maps");

// Without types: no BTF of key or value.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __uint(key_size, 2);
  __uint(value_size, 3);
} untyped SEC(".maps");

struct maps_state {
  __u64 runs;
  struct {
    __s32 pid;
    char comm[16];
    struct {
      __u64 deep;
      __u8 bytes[4];
    } inner;
  } last;
  enum maps_mood mood;
  bool ready;
};

struct maps_state state;                            // .bss
__u64 nr_enqueued;                                  // .bss
__s64 threshold = -12345;                           // .data
char label[16] = "as measured";                     // .data
const volatile __u32 limits[3] = {3, 1, 4};         // .rodata
const volatile enum maps_mood wanted = MAPS_ANGRY;  // .rodata

// On the CPU it is run on: that CPU's values.
SEC("raw_tp")
int fill_this_cpu(void* ctx) {
  __u32 cpu = bpf_get_smp_processor_id();
  __u32 index = 1;
  __u64 name = 0xfeedface12345678ull;
  __u64* total = bpf_map_lookup_elem(&cpu_totals, &index);
  if (total) *total = 1000 * (cpu + 1) + 7;
  struct maps_counter* counter = bpf_map_lookup_elem(&cpu_counters, &name);
  if (counter) {
    counter->hits = cpu + 50;
    counter->level = -1 - (__s32)cpu;
  }
  return 0;
}

// Once, by the task that runs it.
SEC("raw_tp")
int fill_globals(void* ctx) {
  struct task_struct* task = bpf_get_current_task_btf();
  __u32 index = 2;
  __u64 number = 1ull << 63;
  ++state.runs;
  state.last.pid = task->pid;
  bpf_get_current_comm(state.last.comm, sizeof(state.last.comm));
  state.last.inner.deep = 0x0123456789abcdefull;
  for (int i = 0; i < 4; ++i) state.last.inner.bytes[i] = 10 * (i + 1);
  state.mood = MAPS_BUSY;
  state.ready = true;
  nr_enqueued = 42;
  threshold -= 1;
  bpf_map_update_elem(&numbers, &index, &number, BPF_ANY);
  struct maps_note* note = bpf_task_storage_get(&notes, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (note) {
    note->visits = 99;
    __builtin_memcpy(note->text, "was here", 9);
  }
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
