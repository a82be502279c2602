// HostFile: a regular file of the host, read at offsets straight into caller's memory.
//
// Threads: immutable after Open; ReadAt may be called from any thread.
// Ownership: owns the file descriptor.
// Errors: name the path, what was wanted (`purpose`, such as "kernel") and what was found.
#ifndef WATCHSNAP_VMM_BOOT_HOST_FILE_H_
#define WATCHSNAP_VMM_BOOT_HOST_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace watchsnap {

class HostFile {
 public:
  static absl::StatusOr<HostFile> Open(const std::string& path, std::string_view purpose);
  HostFile(HostFile&& other) noexcept;
  HostFile& operator=(HostFile&&) = delete;
  ~HostFile();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }

  // Fills `out` from `offset`, or fails: a file shorter than that is DataLoss. A large read is shared with a second
  // thread: most of its time goes into the host clearing the pages that it fills.
  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const;

 private:
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> out) const;
  HostFile() = default;

  std::string path_;
  std::string purpose_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_BOOT_HOST_FILE_H_
