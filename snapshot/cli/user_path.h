// Paths as the user typed them: relative to where the user stood, which under `bazel run` is
// BUILD_WORKING_DIRECTORY and not the current directory.
#ifndef WATCHSNAP_SNAPSHOT_CLI_USER_PATH_H_
#define WATCHSNAP_SNAPSHOT_CLI_USER_PATH_H_

#include <cstdlib>
#include <filesystem>
#include <string>

namespace watchsnap {

// Absolute; empty stays empty.
inline std::string UserPath(const std::string& path) {
  if (path.empty() || path[0] == '/') return path;
  const char* base = std::getenv("BUILD_WORKING_DIRECTORY");
  const std::filesystem::path root =
      base != nullptr ? std::filesystem::path(base) : std::filesystem::current_path();
  return (root / path).lexically_normal().string();
}

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_USER_PATH_H_
