#include "testing/scenarios/guest_kernel.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

namespace watchsnap {
namespace {

// Of each CPU, since boot.
absl::StatusOr<std::vector<uint64_t>> TimerInterrupts() {
  absl::StatusOr<std::string> interrupts = ReadGuestFile("/proc/interrupts");
  if (!interrupts.ok()) return interrupts.status();
  for (std::string_view line : absl::StrSplit(*interrupts, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (!absl::ConsumePrefix(&line, "LOC:")) continue;
    std::vector<uint64_t> counts;
    for (std::string_view word : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
      uint64_t count = 0;
      if (!absl::SimpleAtoi(word, &count)) break;
      counts.push_back(count);
    }
    return counts;
  }
  return absl::NotFoundError("/proc/interrupts has no line LOC");
}

}  // namespace

absl::StatusOr<std::string> ReadGuestFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  std::string content;
  char buffer[65536];
  ssize_t got = 0;
  while ((got = read(fd, buffer, sizeof(buffer))) > 0)
    content.append(buffer, static_cast<size_t>(got));
  const int error = errno;
  close(fd);
  if (got < 0) return absl::ErrnoToStatus(error, absl::StrCat("read ", path));
  return content;
}

absl::Status WriteGuestFile(const std::string& path, std::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  const ssize_t written = write(fd, text.data(), text.size());
  const int error = errno;
  close(fd);
  if (written == static_cast<ssize_t>(text.size())) return absl::OkStatus();
  return absl::ErrnoToStatus(error, absl::StrCat("write '", text, "' to ", path));
}

absl::Status MakeProcesses(int count) {
  for (int i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0) return absl::ErrnoToStatus(errno, "fork");
    int status = 0;
    if (waitpid(child, &status, 0) != child) return absl::ErrnoToStatus(errno, "waitpid");
  }
  return absl::OkStatus();
}

absl::Status AwaitTimerInterrupts(uint64_t count, absl::Duration timeout) {
  absl::StatusOr<std::vector<uint64_t>> begin = TimerInterrupts();
  if (!begin.ok()) return begin.status();
  for (const absl::Time deadline = absl::Now() + timeout; absl::Now() < deadline;) {
    absl::SleepFor(absl::Milliseconds(100));
    absl::StatusOr<std::vector<uint64_t>> now = TimerInterrupts();
    if (!now.ok()) return now.status();
    for (size_t cpu = 0; cpu < now->size() && cpu < begin->size(); ++cpu) {
      if ((*now)[cpu] - (*begin)[cpu] >= count) return absl::OkStatus();
    }
  }
  return absl::DeadlineExceededError(absl::StrCat(
      "no CPU took ", count, " timer interrupts within ", absl::FormatDuration(timeout)));
}

absl::StatusOr<uint64_t> AddressInGuest(std::string_view symbol) {
  absl::StatusOr<std::string> symbols = ReadGuestFile("/proc/kallsyms");
  if (!symbols.ok()) return symbols.status();
  for (std::string_view line : absl::StrSplit(*symbols, '\n')) {
    const std::vector<std::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t"));
    uint64_t address = 0;
    if (words.size() < 3 || words[2] != symbol) continue;
    if (absl::SimpleHexAtoi(words[0], &address) && address != 0) return address;
    return absl::PermissionDeniedError("/proc/kallsyms hides addresses (kernel.kptr_restrict)");
  }
  return absl::NotFoundError(
      absl::StrCat(symbol, " is not in /proc/kallsyms (CONFIG_KALLSYMS_ALL)"));
}

absl::StatusOr<std::string> BuildIdInGuest() {
  absl::StatusOr<std::string> notes = ReadGuestFile("/sys/kernel/notes");
  if (!notes.ok()) return notes.status();
  const auto padded = [](uint32_t size) { return (size_t{size} + 3) & ~size_t{3}; };
  for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= notes->size();) {
    Elf64_Nhdr note;
    memcpy(&note, notes->data() + at, sizeof(note));
    const size_t contents = at + sizeof(note) + padded(note.n_namesz);
    at = contents + padded(note.n_descsz);
    if (at > notes->size()) break;
    if (note.n_type == NT_GNU_BUILD_ID &&
        std::string_view(*notes).substr(contents - padded(note.n_namesz), 3) == "GNU") {
      return absl::BytesToHexString(std::string_view(*notes).substr(contents, note.n_descsz));
    }
  }
  return absl::NotFoundError("/sys/kernel/notes holds no GNU build ID");
}

}  // namespace watchsnap
