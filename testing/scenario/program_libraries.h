// What a dynamically linked program needs beside it in a guest: its dynamic linker and libraries.
//
//   absl::StatusOr<std::vector<GuestLibrary>> libraries = LibrariesOf(program, test_files);
//
// Libraries are looked for among the files that the test gives, by name, then where this machine's
// dynamic linker would look. The linker goes where the program names it, libraries into
// kGuestLibraryFolder.
//
// Formats: gABI, "Program Loading and Dynamic Linking". Threads: any. Errors: NOT_FOUND names the
// library, who needs it and where it was looked for; INVALID_ARGUMENT for a damaged ELF file. A
// file that is no dynamically linked ELF program needs nothing.
#ifndef WATCHSNAP_TESTING_SCENARIO_PROGRAM_LIBRARIES_H_
#define WATCHSNAP_TESTING_SCENARIO_PROGRAM_LIBRARIES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap {

// In the guest's LD_LIBRARY_PATH.
inline constexpr char kGuestLibraryFolder[] = "/lib";

struct GuestLibrary {
  std::string host_path;
  std::string guest_path;
};

// The program's own libraries, theirs, and so on, each once.
absl::StatusOr<std::vector<GuestLibrary>> LibrariesOf(const std::string& program,
                                                      const std::vector<std::string>& test_files);

// What one ELF file says of itself.
struct DynamicNeeds {
  std::string interpreter;  // empty: it is not a program, or a static one
  std::vector<std::string> libraries;
};
absl::StatusOr<DynamicNeeds> ReadDynamicNeeds(absl::Span<const uint8_t> file);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_PROGRAM_LIBRARIES_H_
