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

}  // namespace

SidecarFile::SidecarFile(SidecarFile&& other) noexcept { *this = std::move(other); }

SidecarFile& SidecarFile::operator=(SidecarFile&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(fd_, other.fd_);
  std::swap(text_, other.text_);
  std::swap(bytes_, other.bytes_);
  std::swap(captures_, other.captures_);
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
  if (absl::Status status = file.Index(); !status.ok()) return status;
  return file;
}

absl::StatusOr<SidecarFile> SidecarFile::FromText(std::string text, std::string name) {
  SidecarFile file;
  file.name_ = std::move(name);
  file.text_ = std::move(text);
  file.bytes_ = file.text_.size();
  if (absl::Status status = file.Index(); !status.ok()) return status;
  return file;
}

absl::StatusOr<std::shared_ptr<const JsonDocument>> SidecarFile::Document(size_t capture) {
  if (capture >= captures_.size()) {
    return absl::OutOfRangeError(absl::StrCat(name_, " has no capture ", capture, "; it holds ",
                                              captures_.size(), ", counted from 0"));
  }
  const Span& span = captures_[capture];
  absl::StatusOr<std::string_view> text = Load(span);
  if (!text.ok()) return text.status();
  auto document = parser_->ParsePadded(*text);
  if (!document.ok()) return AtLine(span, document.status());
  if (absl::Status status = CheckIsCapture((*document)->root()); !status.ok()) {
    return AtLine(span, status);
  }
  return document;
}

absl::StatusOr<Report> SidecarFile::ReadReport(size_t capture) {
  if (capture >= captures_.size()) return Document(capture).status();
  const Span& span = captures_[capture];
  absl::StatusOr<std::string_view> text = Load(span);
  if (!text.ok()) return text.status();
  absl::StatusOr<SidecarLine> line = report_parser_->ParsePadded(*text);
  if (!line.ok()) return AtLine(span, line.status());
  if (auto* report = std::get_if<Report>(&*line)) return std::move(*report);
  return Document(capture).status();
}

absl::Status SidecarFile::Index() {
  if (absl::Status status = FindLines(); !status.ok()) return status;
  if (captures_.empty()) return absl::OkStatus();
  const Span last = captures_.back();
  const bool terminated = last.offset + last.length < bytes_;
  if (captures_.size() > 1 || !terminated) {
    // A sidecar's first line is whole unless it is the only one.
    absl::StatusOr<std::string_view> first = Load(captures_.front());
    if (!first.ok()) return first.status();
    if (!parser_->ParsePaddedHere(*first).ok() && TryAsSingleDocument()) return absl::OkStatus();
  }
  return LookAtLastLine(terminated);
}

absl::Status SidecarFile::FindLines() {
  std::string block(kBlock, '\0');
  Span line = {0, 0, 1};
  for (uint64_t at = 0; at < bytes_;) {
    absl::StatusOr<size_t> got =
        ReadAt(at, block.data(), static_cast<size_t>(std::min<uint64_t>(kBlock, bytes_ - at)));
    if (!got.ok()) return got.status();
    if (*got == 0) bytes_ = at;  // shortened meanwhile
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
  if (line.offset < bytes_) {
    line.length = static_cast<size_t>(bytes_ - line.offset);
    captures_.push_back(line);
  }
  return absl::OkStatus();
}

absl::Status SidecarFile::LookAtLastLine(bool terminated) {
  const Span last = captures_.back();
  absl::StatusOr<std::string_view> text = Load(last);
  if (!text.ok()) return text.status();
  const auto root = parser_->ParsePaddedHere(*text);
  if (!root.ok()) {
    if (terminated) return absl::OkStatus();  // a damaged line, for who asks for it
    torn_line_ = TornLine{last.line_number, std::string(*text)};
    captures_.pop_back();
    return absl::OkStatus();
  }
  const auto schema = root->Member("schema");
  if (!schema.has_value() || schema->String() != kSummarySchema) return absl::OkStatus();
  absl::StatusOr<SidecarLine> line = report_parser_->ParsePadded(*text);
  if (!line.ok()) return AtLine(last, line.status());
  summary_ = std::get<WatchCounters>(*line);
  captures_.pop_back();
  return absl::OkStatus();
}

bool SidecarFile::TryAsSingleDocument() {
  if (bytes_ > kMostSingleDocument) return false;
  const Span all = {0, static_cast<size_t>(bytes_), 1};
  absl::StatusOr<std::string_view> text = Load(all);
  if (!text.ok() || !parser_->ParsePaddedHere(*text).ok()) return false;
  captures_.assign(1, all);
  single_document_ = true;
  return true;
}

absl::StatusOr<std::string_view> SidecarFile::Load(const Span& span) {
  buffer_.resize(span.length + kJsonPadding);
  size_t have = 0;
  while (have < span.length) {
    absl::StatusOr<size_t> got =
        ReadAt(span.offset + have, buffer_.data() + have, span.length - have);
    if (!got.ok()) return got.status();
    if (*got == 0) {
      return absl::AbortedError(absl::StrCat(name_, ":", span.line_number,
                                             ": the file was cut while it was read"));
    }
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

absl::Status SidecarFile::AtLine(const Span& span, const absl::Status& status) const {
  const std::string_view line = std::string_view(buffer_).substr(0, span.length);
  return absl::Status(
      status.code(),
      absl::StrCat(name_, ":", span.line_number, ": ", status.message(),
                   "; the line is: ", absl::CHexEscape(line.substr(0, kShownBytes)),
                   line.size() > kShownBytes ? "…" : ""));
}

}  // namespace watchsnap
