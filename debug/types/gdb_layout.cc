#include "debug/types/gdb_layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace watchsnap {
namespace {

bool IsWord(char c) { return absl::ascii_isalnum(c) || c == '_'; }

// Of "struct list_head *next[3]", "u8 flags : 3", "void (*func)(struct callback_head *)".
void ParseDeclarator(std::string_view text, GdbMember& member) {
  absl::ConsumeSuffix(&text, ";");
  const size_t colon = text.rfind(" : ");
  if (colon != text.npos && absl::SimpleAtoi(text.substr(colon + 3), &member.bitfield_size)) {
    text = text.substr(0, colon);
  }
  const size_t inner = text.find("(*");
  if (inner != text.npos) {
    text = text.substr(inner);
    while (!text.empty() && (text[0] == '(' || text[0] == '*' || text[0] == ' ')) {
      text.remove_prefix(1);
      while (absl::ConsumePrefix(&text, "const ") || absl::ConsumePrefix(&text, "volatile ")) {
      }
    }
    size_t length = 0;
    while (length < text.size() && IsWord(text[length])) ++length;
    member.name = std::string(text.substr(0, length));
    return;
  }
  while (absl::EndsWith(text, "]")) {
    text = text.substr(0, text.rfind('['));
    member.is_derived = true;
  }
  size_t start = text.size();
  while (start > 0 && IsWord(text[start - 1])) --start;
  member.name = std::string(text.substr(start));
  if (absl::StrContains(text.substr(0, start), "*")) member.is_derived = true;
}

// The comment before a member: "  6080: 0   |       4 ", or "          4 " in a union.
void ParsePosition(std::string_view comment, GdbMember& member) {
  const std::vector<std::string_view> columns = absl::StrSplit(comment, '|');
  (void)absl::SimpleAtoi(columns.back(), &member.size);
  if (columns.size() < 2) return;
  const std::vector<std::string_view> place = absl::StrSplit(columns[0], ':');
  uint64_t byte = 0, bit = 0;
  (void)absl::SimpleAtoi(place[0], &byte);
  if (place.size() > 1) (void)absl::SimpleAtoi(place[1], &bit);
  member.bit_offset = byte * 8 + bit;
}

class Parser {
 public:
  void Line(std::string_view line) {
    line = absl::StripAsciiWhitespace(line);
    if (absl::ConsumePrefix(&line, "@ ")) {
      layouts_.emplace_back().c_name = std::string(line);
      open_.clear();
      return;
    }
    if (layouts_.empty() || line.empty() || absl::StartsWith(line, "/* XXX")) return;
    if (absl::StartsWith(line, "/* offset ")) {
      open_.push_back({});
    } else if (open_.empty()) {
      absl::StrAppend(&layouts_.back().refused, line, "\n");
    } else if (absl::ConsumePrefix(&line, "/* total size (bytes):")) {
      absl::ConsumeSuffix(&line, "*/");
      (void)absl::SimpleAtoi(line, &total_);
    } else if (absl::ConsumePrefix(&line, "}")) {
      Close(line);
    } else if (absl::ConsumePrefix(&line, "/*")) {
      const size_t end = line.find("*/");
      if (end == line.npos) return;
      GdbMember member;
      ParsePosition(line.substr(0, end), member);
      const std::string_view text = absl::StripAsciiWhitespace(line.substr(end + 2));
      if (absl::EndsWith(text, "{")) {
        open_.push_back(std::move(member));
      } else {
        ParseDeclarator(text, member);
        open_.back().members.push_back(std::move(member));
      }
    }
  }

  std::vector<GdbLayout> Take() { return std::move(layouts_); }

 private:
  void Close(std::string_view declarator) {
    GdbMember member = std::move(open_.back());
    open_.pop_back();
    if (open_.empty()) {
      layouts_.back().size = total_;
      layouts_.back().members = std::move(member.members);
      return;
    }
    ParseDeclarator(absl::StripAsciiWhitespace(declarator), member);
    open_.back().members.push_back(std::move(member));
  }

  std::vector<GdbLayout> layouts_;
  std::vector<GdbMember> open_;  // the type itself first
  uint64_t total_ = 0;           // of the type that closes next
};

}  // namespace

std::vector<GdbLayout> ParseGdb(std::string_view output) {
  Parser parser;
  for (const std::string_view line : absl::StrSplit(output, '\n')) parser.Line(line);
  return parser.Take();
}

absl::StatusOr<std::vector<GdbLayout>> AskGdb(const std::string& vmlinux,
                                              const std::vector<std::string>& c_names) {
  if (system("command -v gdb >/dev/null") != 0) {
    return absl::FailedPreconditionError(
        "gdb is not on this machine's PATH, and its ptype /o is what types are compared with; "
        "install it (apt-get install gdb)");
  }
  const char* directory = getenv("TEST_TMPDIR");
  std::string script = absl::StrCat(directory != nullptr ? directory : "/tmp", "/gdb.XXXXXX");
  const int fd = mkstemp(script.data());
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", script));
  const absl::Cleanup remove = [&] { unlink(script.c_str()); };
  // From its standard input: a script ends at the first command that fails, this does not.
  std::string commands = "set pagination off\nset width 0\nset language c\n";
  for (const std::string& name : c_names) {
    absl::StrAppend(&commands, "echo @ ", name, "\\n\nptype /o ", name, "\n");
  }
  const bool written =
      write(fd, commands.data(), commands.size()) == static_cast<ssize_t>(commands.size());
  close(fd);
  if (!written) return absl::DataLossError(absl::StrCat("cannot write ", script));
  const std::string command =
      absl::StrCat("gdb -nx -q -iex 'set debuginfod enabled off' -iex 'set prompt ' '", vmlinux,
                   "' <", script,
                   " 2>&1");
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return absl::ErrnoToStatus(errno, "cannot run gdb");
  std::string output;
  char buffer[65536];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, n);
  if (const int status = pclose(pipe); status != 0) {
    return absl::InternalError(absl::StrCat("gdb ended with status ", status, ": ",
                                            output.substr(0, 2000)));
  }
  return ParseGdb(output);
}

}  // namespace watchsnap
