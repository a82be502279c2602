// The initramfs of a scenario's guest: this very program as /init, files the test asked for in
// /data, schedulers and what loads them (guest_scheduler.h), and the shared libraries of those that
// are dynamically linked programs (program_libraries.h).
//
// Only what the kernel loads of the program travels: without symbols and debug information it
// unpacks several times faster.
//
// Threads: any. Errors: INVALID_ARGUMENT if the program is dynamically linked (it must run where no
// library is), and those of reading files.
#ifndef WATCHSNAP_TESTING_SCENARIO_GUEST_IMAGE_H_
#define WATCHSNAP_TESTING_SCENARIO_GUEST_IMAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap {

// Files of the host.
struct GuestFiles {
  std::vector<std::string> data;
  std::vector<std::string> schedulers;
  std::string bpf_loader;  // empty: none
};

absl::StatusOr<std::vector<uint8_t>> BuildGuestImage(const std::string& program,
                                                     const GuestFiles& files);

// The loaded part of a static ELF executable, itself an executable.
absl::StatusOr<std::vector<uint8_t>> LoadedPartOfElf(absl::Span<const uint8_t> file);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_GUEST_IMAGE_H_
