#include "snapshot/report/sidecar_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

constexpr size_t kShownBytes = 120;
constexpr size_t kBlock = 256 << 10;
// A document over several lines is looked for up to this size only.
constexpr uint64_t kMostSingleDocument = uint64_t{1} << 30;

// That `root` is a capture, as far as every reader relies on it.
absl::Status CheckIsCapture(JsonNode root) {
  if (!root.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a JSON object, found ", JsonKindText(root.kind())));
  }
  const auto schema = root.Member("schema");
  const std::string_view found =
      schema.has_value() ? schema->String().value_or("no text") : std::string_view("none");
  if (found == kSummarySchema) {
    return absl::InvalidArgumentError("a summary, which belongs at the end, and once");
  }
  if (found != kCaptureSchema) {
    return absl::FailedPreconditionError(absl::StrCat("this version reads the schemas ",
                                                      kCaptureSchema, " and ", kSummarySchema,
                                                      "; found ", found));
  }
  for (const std::string_view name : {"tag", "seq", "trigger"}) {
    if (!root.Member(name).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("a capture without a ", name));
    }
  }
  return absl::OkStatus();
}

absl::Status Cut(std::string_view name) {
  return absl::AbortedError(absl::StrCat(name, ": the file was cut while it was read"));
}

}  // namespace

SidecarFile::SidecarFile(SidecarFile&& other) noexcept { *this = std::move(other); }

SidecarFile& SidecarFile::operator=(SidecarFile&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(fd_, other.fd_);
  std::swap(text_, other.text_);
  std::swap(bytes_, other.bytes_);
  std::swap(captures_end_, other.captures_end_);
  std::swap(lines_found_, other.lines_found_);
  std::swap(captures_, other.captures_);
  std::swap(status_, other.status_);
  std::swap(summary_, other.summary_);
  std::swap(torn_line_, other.torn_line_);
  std::swap(single_document_, other.single_document_);
  std::swap(buffer_, other.buffer_);
  std::swap(parser_, other.parser_);
  std::swap(report_parser_, other.report_parser_);
  return *this;
}

SidecarFile::~SidecarFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<SidecarFile> SidecarFile::Open(const std::string& path) {
  SidecarFile file;
  file.name_ = path;
  file.fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd_ < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open the sidecar ", path));
  struct stat info = {};
  if (fstat(file.fd_, &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("stat ", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no regular file"));
  }
  file.bytes_ = static_cast<uint64_t>(info.st_size);
  if (absl::Status status = file.Prepare(); !status.ok()) return status;
  return file;
}

absl::StatusOr<SidecarFile> SidecarFile::FromText(std::string text, std::string name) {
  SidecarFile file;
  file.name_ = std::move(name);
  file.text_ = std::move(text);
  file.bytes_ = file.text_.size();
  if (absl::Status status = file.Prepare(); !status.ok()) return status;
  return file;
}

size_t SidecarFile::size() {
  FindLines();
  return captures_.size();
}

SidecarFile::DocumentOr SidecarFile::Document(size_t capture) {
  FindLines();
  if (capture >= captures_.size()) {
    if (!status_.ok()) return status_;
    return absl::OutOfRangeError(absl::StrCat(name_, " has no capture ", capture, "; it holds ",
                                              captures_.size(), ", counted from 0"));
  }
  const Span& span = captures_[capture];
  absl::StatusOr<std::string_view> text = Load(span);
  if (!text.ok()) return text.status();
  return Parse(*text, span.line_number);
}

absl::StatusOr<Report> SidecarFile::ReadReport(size_t capture) {
  FindLines();
  if (capture >= captures_.size()) return Document(capture).status();
  const Span& span = captures_[capture];
  absl::StatusOr<std::string_view> text = Load(span);
  if (!text.ok()) return text.status();
  absl::StatusOr<SidecarLine> line = report_parser_->ParsePadded(*text);
  if (!line.ok()) return AtLine(span.line_number, *text, line.status());
  if (auto* report = std::get_if<Report>(&*line)) return std::move(*report);
  return Document(capture).status();
}

absl::Status SidecarFile::ForEach(
    absl::FunctionRef<bool(size_t capture, DocumentOr document)> visit) {
  if (single_document_) {
    visit(0, Document(0));
    return absl::OkStatus();
  }
  std::string block(kBlock + kJsonPadding, '\0');
  size_t have = 0;        // bytes in the block, from the beginning of a line on
  uint64_t read_to = 0;   // in the file
  size_t capture = 0;
  for (bool more = true; more;) {
    if (have + kJsonPadding == block.size()) block.resize(2 * block.size());
    const uint64_t room = std::min<uint64_t>(block.size() - kJsonPadding - have,
                                             captures_end_ - read_to);
    absl::StatusOr<size_t> got =
        ReadAt(read_to, block.data() + have, static_cast<size_t>(room));
    if (!got.ok()) return got.status();
    have += *got;
    read_to += *got;
    more = *got > 0 && read_to < captures_end_;
    size_t done = 0;
    while (done < have) {
      const char* const begin = block.data() + done;
      const void* const end = std::memchr(begin, '\n', have - done);
      if (end == nullptr && more) break;  // the rest of this line comes with the next block
      const size_t length =
          end == nullptr ? have - done
                         : static_cast<size_t>(static_cast<const char*>(end) - begin);
      if (!visit(capture, Parse(std::string_view(begin, length), capture + 1))) {
        return absl::OkStatus();
      }
      ++capture;
      done = std::min(done + length + 1, have);
    }
    std::memmove(block.data(), block.data() + done, have - done);
    have -= done;
  }
  return absl::OkStatus();
}

absl::Status SidecarFile::Prepare() {
  captures_end_ = bytes_;
  if (bytes_ == 0) return absl::OkStatus();
  bool terminated = false;
  absl::StatusOr<Span> last = FindLastLine(terminated);
  if (!last.ok()) return last.status();
  if (last->offset > 0 || !terminated) {
    if (absl::Status status = LookAtFirstLine(*last); !status.ok()) return status;
    if (single_document_) return absl::OkStatus();
  }
  return LookAtLastLine(*last, terminated);
}

absl::StatusOr<SidecarFile::Span> SidecarFile::FindLastLine(bool& terminated) const {
  std::string block(kBlock, '\0');
  uint64_t end = bytes_;
  for (uint64_t at = bytes_; at > 0;) {
    const size_t length = static_cast<size_t>(std::min<uint64_t>(kBlock, at));
    at -= length;
    absl::StatusOr<size_t> got = ReadAt(at, block.data(), length);
    if (!got.ok()) return got.status();
    if (*got < length) return Cut(name_);
    size_t here = length;
    if (at + length == bytes_) {
      terminated = block[length - 1] == '\n';
      if (terminated) --here, --end;
    }
    const void* found = memrchr(block.data(), '\n', here);
    if (found != nullptr) {
      const uint64_t begin = at + (static_cast<const char*>(found) - block.data()) + 1;
      return Span{begin, static_cast<size_t>(end - begin), 0};
    }
  }
  return Span{0, static_cast<size_t>(end), 1};
}

// A sidecar's first line is whole unless it is the only one; else it may be one document on many.
absl::Status SidecarFile::LookAtFirstLine(const Span& last) {
  Span first = last;
  if (last.offset > 0) {
    first = {0, 0, 1};
    std::string block(kBlock, '\0');
    for (uint64_t at = 0; at < last.offset && first.length == 0; at += kBlock) {
      absl::StatusOr<size_t> got = ReadAt(at, block.data(), kBlock);
      if (!got.ok()) return got.status();
      const void* end = std::memchr(block.data(), '\n', *got);
      if (end == nullptr) continue;
      first.length = static_cast<size_t>(at) +
                     static_cast<size_t>(static_cast<const char*>(end) - block.data());
      break;
    }
  }
  absl::StatusOr<std::string_view> text = Load(first);
  if (!text.ok()) return text.status();
  if (!parser_->ParsePaddedHere(*text).ok()) TryAsSingleDocument();
  return absl::OkStatus();
}

absl::Status SidecarFile::LookAtLastLine(Span last, bool terminated) {
  absl::StatusOr<std::string_view> text = Load(last);
  if (!text.ok()) return text.status();
  const auto root = parser_->ParsePaddedHere(*text);
  if (!root.ok()) {
    if (terminated) return absl::OkStatus();  // a damaged line, for who asks for it
    torn_line_ = TornLine{0, std::string(*text)};
    captures_end_ = last.offset;
    torn_line_->line_number = size() + 1;
    return status_;
  }
  const auto schema = root->Member("schema");
  if (!schema.has_value() || schema->String() != kSummarySchema) return absl::OkStatus();
  absl::StatusOr<SidecarLine> line = report_parser_->ParsePadded(*text);
  if (!line.ok()) {
    captures_end_ = last.offset;
    return AtLine(size() + 1, *text, line.status());
  }
  summary_ = std::get<WatchCounters>(*line);
  captures_end_ = last.offset;
  return absl::OkStatus();
}

void SidecarFile::FindLines() {
  if (lines_found_) return;
  lines_found_ = true;
  std::string block(kBlock, '\0');
  Span line = {0, 0, 1};
  uint64_t at = 0;
  while (at < captures_end_) {
    absl::StatusOr<size_t> got = ReadAt(
        at, block.data(), static_cast<size_t>(std::min<uint64_t>(kBlock, captures_end_ - at)));
    if (!got.ok()) {
      status_ = got.status();
      return;
    }
    if (*got == 0) {
      status_ = Cut(name_);
      break;
    }
    const char* const begin = block.data();
    for (size_t done = 0; done < *got;) {
      const void* end = std::memchr(begin + done, '\n', *got - done);
      if (end == nullptr) break;
      done = static_cast<size_t>(static_cast<const char*>(end) - begin) + 1;
      line.length = static_cast<size_t>(at + done - 1 - line.offset);
      captures_.push_back(line);
      line = {at + done, 0, line.line_number + 1};
    }
    at += *got;
  }
  if (line.offset < at) {
    line.length = static_cast<size_t>(at - line.offset);
    captures_.push_back(line);
  }
}

bool SidecarFile::TryAsSingleDocument() {
  if (bytes_ > kMostSingleDocument) return false;
  const Span all = {0, static_cast<size_t>(bytes_), 1};
  absl::StatusOr<std::string_view> text = Load(all);
  if (!text.ok() || !parser_->ParsePaddedHere(*text).ok()) return false;
  captures_.assign(1, all);
  lines_found_ = true;
  single_document_ = true;
  return true;
}

SidecarFile::DocumentOr SidecarFile::Parse(std::string_view padded, uint64_t line_number) {
  auto document = parser_->ParsePadded(padded);
  if (!document.ok()) return AtLine(line_number, padded, document.status());
  if (absl::Status status = CheckIsCapture((*document)->root()); !status.ok()) {
    return AtLine(line_number, padded, status);
  }
  return document;
}

absl::StatusOr<std::string_view> SidecarFile::Load(const Span& span) {
  buffer_.resize(span.length + kJsonPadding);
  size_t have = 0;
  while (have < span.length) {
    absl::StatusOr<size_t> got =
        ReadAt(span.offset + have, buffer_.data() + have, span.length - have);
    if (!got.ok()) return got.status();
    if (*got == 0) return Cut(name_);
    have += *got;
  }
  return std::string_view(buffer_).substr(0, span.length);
}

absl::StatusOr<size_t> SidecarFile::ReadAt(uint64_t offset, char* to, size_t length) const {
  if (fd_ < 0) return text_.copy(to, length, static_cast<size_t>(offset));
  for (;;) {
    const ssize_t got = pread(fd_, to, length, static_cast<off_t>(offset));
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) {
      return absl::ErrnoToStatus(errno, absl::StrCat("read the sidecar ", name_));
    }
  }
}

absl::Status SidecarFile::AtLine(uint64_t line_number, std::string_view line,
                                 const absl::Status& status) const {
  return absl::Status(
      status.code(),
      absl::StrCat(name_, ":", line_number, ": ", status.message(),
                   "; the line is: ", absl::CHexEscape(line.substr(0, kShownBytes)),
                   line.size() > kShownBytes ? "…" : ""));
}

}  // namespace watchsnap
