#include "testing/scenario/guest_image.h"

#include <elf.h>
#include <string.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "testing/scenario/guest_scheduler.h"
#include "testing/scenario/program_libraries.h"
#include "vmm/boot/host_file.h"
#include "vmm/boot/initramfs.h"

namespace watchsnap {

absl::StatusOr<std::vector<uint8_t>> LoadedPartOfElf(absl::Span<const uint8_t> file) {
  Elf64_Ehdr header;
  if (file.size() < sizeof(header) || memcmp(file.data(), ELFMAG, SELFMAG) != 0 ||
      file[EI_CLASS] != ELFCLASS64) {
    return absl::InvalidArgumentError("not a 64-bit ELF file");
  }
  memcpy(&header, file.data(), sizeof(header));
  uint64_t end = header.e_phoff + uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || end > file.size()) {
    return absl::InvalidArgumentError("its program headers are damaged");
  }
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    memcpy(&segment, file.data() + header.e_phoff + static_cast<size_t>(i) * sizeof(segment),
           sizeof(segment));
    if (segment.p_type == PT_INTERP) {
      return absl::InvalidArgumentError(
          "it is dynamically linked; a scenario program must be static (watch_scenario_test links "
          "it so)");
    }
    if (segment.p_filesz > file.size() || segment.p_offset > file.size() - segment.p_filesz) {
      return absl::InvalidArgumentError("its segments lie outside the file");
    }
    end = std::max(end, segment.p_offset + segment.p_filesz);
  }
  // The section headers point behind what is left.
  header.e_shoff = 0;
  header.e_shnum = 0;
  header.e_shstrndx = SHN_UNDEF;
  std::vector<uint8_t> loaded(file.begin(), file.begin() + static_cast<ptrdiff_t>(end));
  memcpy(loaded.data(), &header, sizeof(header));
  return loaded;
}

namespace {

absl::Status AddAll(InitramfsBuilder& builder, const std::string& folder,
                    const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    if (absl::Status status = builder.AddHostFile(
            absl::StrCat(folder, "/", file.substr(file.rfind('/') + 1)), file, 0755);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

// Of all programs among the test's files.
absl::Status AddLibraries(InitramfsBuilder& builder, const GuestFiles& files) {
  std::set<std::string> added;
  for (const std::vector<std::string>* group : {&files.schedulers, &files.data}) {
    for (const std::string& program : *group) {
      absl::StatusOr<std::vector<GuestLibrary>> libraries = LibrariesOf(program, files.data);
      if (!libraries.ok()) return libraries.status();
      for (const GuestLibrary& library : *libraries) {
        if (!added.insert(library.guest_path).second) continue;
        if (absl::Status status = builder.AddHostFile(library.guest_path, library.host_path, 0755);
            !status.ok()) {
          return status;
        }
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> BuildGuestImage(const std::string& program,
                                                     const GuestFiles& files) {
  absl::StatusOr<HostFile> file = HostFile::Open(program, "scenario program");
  if (!file.ok()) return file.status();
  std::vector<uint8_t> bytes(file->size());
  if (absl::Status read = file->ReadAt(0, absl::MakeSpan(bytes)); !read.ok()) return read;
  absl::StatusOr<std::vector<uint8_t>> init = LoadedPartOfElf(bytes);
  if (!init.ok())
    return absl::Status(init.status().code(), absl::StrCat(program, ": ", init.status().message()));

  InitramfsBuilder builder;
  absl::Status status = builder.AddFile("init", absl::MakeConstSpan(*init), 0755);
  // Major 5, minor 1: /dev/console (Documentation/admin-guide/devices.txt).
  if (status.ok()) status = builder.AddDevice("dev/console", DeviceKind::kCharacter, 5, 1, 0600);
  if (status.ok()) status = AddAll(builder, "data", files.data);
  if (status.ok()) status = AddAll(builder, kGuestSchedulersFolder, files.schedulers);
  if (status.ok() && !files.bpf_loader.empty()) {
    status = builder.AddHostFile(kGuestBpfLoader, files.bpf_loader, 0755);
  }
  if (status.ok()) status = AddLibraries(builder, files);
  if (!status.ok()) return status;
  return std::move(builder).Build();
}

}  // namespace watchsnap
