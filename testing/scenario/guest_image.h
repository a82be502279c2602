// The initramfs of a scenario's guest: this very program as /init, and files the test asked for in
// /data.
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

absl::StatusOr<std::vector<uint8_t>> BuildGuestImage(const std::string& program,
                                                     const std::vector<std::string>& guest_data);

// The loaded part of a static ELF executable, itself an executable.
absl::StatusOr<std::vector<uint8_t>> LoadedPartOfElf(absl::Span<const uint8_t> file);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_GUEST_IMAGE_H_
