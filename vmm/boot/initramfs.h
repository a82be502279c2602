// InitramfsBuilder: builds a cpio archive ("newc") that a Linux kernel unpacks into its root.
//
//   InitramfsBuilder initramfs;
//   RETURN_IF_ERROR(initramfs.AddHostFile("init", "/path/on/host", 0755));
//   RETURN_IF_ERROR(initramfs.AddDevice("dev/console", DeviceKind::kCharacter, 5, 1, 0600));
//   std::vector<uint8_t> bytes = std::move(initramfs).Build();
//
// The bytes are the same for the same calls (times are 0, owner is root). Their length is a
// multiple of 4, so archives may be concatenated; the kernel unpacks them in order. Format:
// Documentation/driver-api/early-userspace/buffer-format.rst. Threads: not thread-safe. Errors:
// InvalidArgument for a bad path, AlreadyExists for a path added twice, and those of reading a host
// file. Missing parent directories are added with mode 0755.
#ifndef WATCHSNAP_VMM_BOOT_INITRAMFS_H_
#define WATCHSNAP_VMM_BOOT_INITRAMFS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/types/span.h"

namespace watchsnap {

enum class DeviceKind { kCharacter, kBlock };

class InitramfsBuilder {
 public:
  // Paths are relative to the guest's root; a leading "/" is ignored. `mode`: permission bits.
  absl::Status AddDirectory(std::string_view path, uint32_t mode = 0755);
  absl::Status AddFile(std::string_view path, absl::Span<const uint8_t> content,
                       uint32_t mode = 0644);
  absl::Status AddFile(std::string_view path, std::string_view content, uint32_t mode = 0644);
  absl::Status AddHostFile(std::string_view path, const std::string& host_path, uint32_t mode);
  absl::Status AddSymlink(std::string_view path, std::string_view target);
  absl::Status AddDevice(std::string_view path, DeviceKind kind, uint32_t major, uint32_t minor,
                         uint32_t mode = 0600);

  std::vector<uint8_t> Build() &&;

 private:
  struct Entry {
    uint32_t mode = 0;
    uint32_t links = 1;
    uint64_t size = 0;
    uint32_t major = 0;
    uint32_t minor = 0;
  };
  // Checks `path` and its parents and writes the header; the caller then appends `entry.size` bytes
  // of content and calls Pad().
  absl::Status Begin(std::string_view path, const Entry& entry);
  void AppendHeader(std::string_view name, const Entry& entry);
  void Append(std::string_view bytes);
  void Pad();

  std::vector<uint8_t> archive_;
  absl::flat_hash_set<std::string> names_;
  uint32_t next_inode_ = 1;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_BOOT_INITRAMFS_H_
