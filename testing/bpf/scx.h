// What a sched_ext scheduler needs beside the kernel's types: the kernel's functions it calls, and
// macros to define its operations. For BPF programs only.
//
//   SEC("struct_ops/my_enqueue")
//   void BPF_PROG(my_enqueue, struct task_struct* p, u64 enq_flags) {
//     scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, SLICE_NS, enq_flags);
//   }
//   SCX_OPS(my_scheduler, .enqueue = (void*)my_enqueue, .timeout_ms = 2000);
//
// Prototypes: kernel/sched/ext.c, "kfuncs" (Documentation/scheduler/sched-ext.rst).
#ifndef WATCHSNAP_TESTING_BPF_SCX_H_
#define WATCHSNAP_TESTING_BPF_SCX_H_

#include <vmlinux.h>
//
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

extern s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __ksym;
extern s32 scx_bpf_select_cpu_dfl(struct task_struct* p, s32 prev_cpu, u64 wake_flags,
                                  bool* is_idle) __ksym;
extern void scx_bpf_dsq_insert(struct task_struct* p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym;
extern bool scx_bpf_dsq_move_to_local(u64 dsq_id) __ksym;
extern void scx_bpf_error_bstr(char* fmt, unsigned long long* data, u32 data__sz) __ksym;
extern void scx_bpf_exit_bstr(s64 exit_code, char* fmt, unsigned long long* data,
                              u32 data__sz) __ksym;

#define SLICE_NS (20ull * 1000 * 1000)

// One number goes into the message, where it has %llu. The kernel's function wants a writable
// string.
#define SCX_ERROR(format, number)                               \
  ({                                                            \
    static char scx_format[] = format;                          \
    unsigned long long scx_data[] = {number};                   \
    scx_bpf_error_bstr(scx_format, scx_data, sizeof(scx_data)); \
  })
#define SCX_EXIT(code, format, number)                               \
  ({                                                                 \
    static char scx_format[] = format;                               \
    unsigned long long scx_data[] = {number};                        \
    scx_bpf_exit_bstr(code, scx_format, scx_data, sizeof(scx_data)); \
  })

// The scheduler `ops_name`: its operations and members. Loaded through a link, it goes with its
// loader.
#define SCX_OPS(ops_name, ...) \
  SEC(".struct_ops.link")      \
  struct sched_ext_ops ops_name = {__VA_ARGS__, .name = #ops_name}

// The kernel gives its functions to programs under the GPL only.
char LICENSE[] SEC("license") = "GPL";

#endif  // WATCHSNAP_TESTING_BPF_SCX_H_
