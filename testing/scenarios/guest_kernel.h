// What the scenarios here do to the guest's kernel, and learn of it, from inside.
//
// Threads: one. Errors: a Status that names the file or the call.
#ifndef WATCHSNAP_TESTING_SCENARIOS_GUEST_KERNEL_H_
#define WATCHSNAP_TESTING_SCENARIOS_GUEST_KERNEL_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace watchsnap {

// The whole of a file of /proc or /sys.
absl::StatusOr<std::string> ReadGuestFile(const std::string& path);
absl::Status WriteGuestFile(const std::string& path, std::string_view text);

// Makes `count` processes, one after the other, each of which exits at once: writes to total_forks
// and nr_threads.
absl::Status MakeProcesses(int count);

// Waits until one of the CPUs has taken `count` timer interrupts, at most `timeout`: a hold
// measured in ticks, which a slow host delays and merges. /proc/interrupts, the line LOC.
absl::Status AwaitTimerInterrupts(uint64_t count, absl::Duration timeout);

// The run-time address of a symbol, from /proc/kallsyms: a source of its own, beside vmlinux and
// the slide.
absl::StatusOr<uint64_t> AddressInGuest(std::string_view symbol);

// The running kernel's build ID in hexadecimal digits, from /sys/kernel/notes.
absl::StatusOr<std::string> BuildIdInGuest();

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIOS_GUEST_KERNEL_H_
