// What `watchsnap inspect` and `watchsnap diff` do, apart from the command line: from a file and a path
// to the text for the terminal. Sidecars and failure dumps.
//
// Paths: captures[N] and what is in it, summary; of a failure dump also its own members at once.
// Exit codes: 0; 1 if the path or capture is not there; 2 if the file cannot be read.
// Threads: pure functions but for reading the file.
#ifndef WATCHSNAP_SNAPSHOT_CLI_INSPECT_H_
#define WATCHSNAP_SNAPSHOT_CLI_INSPECT_H_

#include <string>
#include <string_view>

namespace watchsnap {

struct CommandOutput {
  int exit_code = 0;
  std::string out;
  std::string err;
};

// An empty path lists the captures.
CommandOutput Inspect(const std::string& file, std::string_view path, bool json);

// `a` and `b`: "3" or "captures[3]".
CommandOutput Diff(const std::string& file, std::string_view a, std::string_view b, bool json);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_INSPECT_H_
