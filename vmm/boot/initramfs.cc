#include "vmm/boot/initramfs.h"

#include <sys/stat.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "vmm/boot/host_file.h"

namespace watchsnap {
namespace {

constexpr uint64_t kMaxContent = 0xffff'ffff;  // an 8-digit hexadecimal field
constexpr size_t kMaxName = 4095;              // PATH_MAX less the NUL

void AppendHex(uint32_t value, std::string* out) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (int shift = 28; shift >= 0; shift -= 4) out->push_back(kDigits[value >> shift & 15]);
}

}  // namespace

void InitramfsBuilder::Append(std::string_view bytes) {
  archive_.insert(archive_.end(), bytes.begin(), bytes.end());
}

void InitramfsBuilder::Pad() { archive_.resize((archive_.size() + 3) / 4 * 4); }

void InitramfsBuilder::AppendHeader(std::string_view name, const Entry& entry) {
  const uint32_t fields[] = {
      next_inode_++,
      entry.mode,
      0,  // uid
      0,  // gid
      entry.links,
      0,  // mtime
      static_cast<uint32_t>(entry.size),
      0,  // major and minor of the file system
      0,
      entry.major,
      entry.minor,
      static_cast<uint32_t>(name.size() + 1),
      0,  // check: used by "070702" only
  };
  std::string header = "070701";
  for (uint32_t field : fields) AppendHex(field, &header);
  Append(header);
  Append(name);
  archive_.push_back(0);
  Pad();
}

absl::Status InitramfsBuilder::Begin(std::string_view path, const Entry& entry) {
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  if (path.empty() || path.size() > kMaxName || path.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "initramfs path of ", path.size(), " bytes: wanted 1 to ", kMaxName, ", without NUL"));
  }
  for (std::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") {
      return absl::InvalidArgumentError(absl::StrCat(
          "initramfs path '", path, "' has an empty, '.' or '..' component; write it plainly"));
    }
  }
  if (entry.size > kMaxContent) {
    return absl::InvalidArgumentError(absl::StrCat("initramfs file '", path, "' of ", entry.size,
                                                   " bytes: a cpio archive holds at most ",
                                                   kMaxContent));
  }
  if (names_.contains(path)) {
    return absl::AlreadyExistsError(absl::StrCat("initramfs path '", path, "' was added before"));
  }
  // The kernel creates no missing directories.
  for (size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    if (names_.emplace(path.substr(0, slash)).second) {
      AppendHeader(path.substr(0, slash), {.mode = S_IFDIR | 0755, .links = 2});
    }
  }
  names_.emplace(path);
  AppendHeader(path, entry);
  return absl::OkStatus();
}

absl::Status InitramfsBuilder::AddDirectory(std::string_view path, uint32_t mode) {
  return Begin(path, {.mode = S_IFDIR | (mode & 07777), .links = 2});
}

absl::Status InitramfsBuilder::AddFile(std::string_view path, absl::Span<const uint8_t> content,
                                       uint32_t mode) {
  absl::Status begun = Begin(path, {.mode = S_IFREG | (mode & 07777), .size = content.size()});
  if (!begun.ok()) return begun;
  archive_.insert(archive_.end(), content.begin(), content.end());
  Pad();
  return absl::OkStatus();
}

absl::Status InitramfsBuilder::AddFile(std::string_view path, std::string_view content,
                                       uint32_t mode) {
  return AddFile(
      path, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(content.data()), content.size()),
      mode);
}

absl::Status InitramfsBuilder::AddHostFile(std::string_view path, const std::string& host_path,
                                           uint32_t mode) {
  absl::StatusOr<HostFile> file = HostFile::Open(host_path, "initramfs");
  if (!file.ok()) return file.status();
  // Read before anything is added, so that a failure leaves the archive as it was.
  std::vector<uint8_t> content(file->size());
  absl::Status read = file->ReadAt(0, absl::MakeSpan(content));
  if (!read.ok()) return read;
  return AddFile(path, content, mode);
}

absl::Status InitramfsBuilder::AddSymlink(std::string_view path, std::string_view target) {
  if (target.empty() || target.size() > kMaxName || target.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("initramfs link '", path, "': its target has ",
                                                   target.size(), " bytes; wanted 1 to ",
                                                   kMaxName));
  }
  absl::Status begun = Begin(path, {.mode = S_IFLNK | 0777, .size = target.size()});
  if (!begun.ok()) return begun;
  Append(target);
  Pad();
  return absl::OkStatus();
}

absl::Status InitramfsBuilder::AddDevice(std::string_view path, DeviceKind kind, uint32_t major,
                                         uint32_t minor, uint32_t mode) {
  const uint32_t type = kind == DeviceKind::kCharacter ? S_IFCHR : S_IFBLK;
  return Begin(path, {.mode = type | (mode & 07777), .major = major, .minor = minor});
}

std::vector<uint8_t> InitramfsBuilder::Build() && {
  AppendHeader("TRAILER!!!", {});
  return std::move(archive_);
}

}  // namespace watchsnap
