#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "snapshot/report/report_json.h"
#include "snapshot/report/report_samples.h"
#include "snapshot/report/sidecar_file.h"
#include "snapshot/report/sidecar_reader.h"
#include "snapshot/report/sidecar_writer.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

std::string TestDir(const char* name) { return ::testing::TempDir() + "/sidecar_test/" + name; }

std::string Content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Report Numbered(uint64_t seq) {
  Report report = FullReport();
  report.seq = seq;
  return report;
}

constexpr WatchCounters kThree = {
    .armed = 1, .hits = 4, .captured = 3, .coalesced = 0, .suppressed = 1, .lost = 0};

TEST(SidecarTest, WrittenAndReadBack) {
  auto writer = SidecarWriter::Create(TestDir("new/dir"), "Test", "a/b");
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (uint64_t seq = 0; seq < 3; ++seq) ASSERT_TRUE((*writer)->Append(Numbered(seq)).ok());
  ASSERT_TRUE((*writer)->Finish(kThree).ok());
  EXPECT_THAT((*writer)->path(), HasSubstr("new/dir/Test.a%2Fb.snapshots.jsonl"));

  const auto sidecar = ReadSidecar((*writer)->path());
  ASSERT_TRUE(sidecar.ok()) << sidecar.status();
  ASSERT_EQ(sidecar->reports.size(), 3u);
  for (uint64_t seq = 0; seq < 3; ++seq) EXPECT_EQ(sidecar->reports[seq], Numbered(seq));
  EXPECT_EQ(sidecar->summary, kThree);
  EXPECT_FALSE(sidecar->torn_line.has_value());
}

TEST(SidecarTest, TheFileIsThereAndEmptyFromRegistrationOn) {
  std::string path;
  for (int run = 0; run < 2; ++run) {
    auto writer = SidecarWriter::Create(TestDir("empty"), "Test", "x");
    ASSERT_TRUE(writer.ok());
    path = (*writer)->path();
    const auto sidecar = ReadSidecar(path);
    ASSERT_TRUE(sidecar.ok()) << sidecar.status();
    EXPECT_TRUE(sidecar->reports.empty());
    EXPECT_FALSE(sidecar->summary.has_value());
    ASSERT_TRUE((*writer)->Append(Numbered(0)).ok());
  }
}

TEST(SidecarTest, ZeroHitsHaveASummaryToo) {
  auto writer = SidecarWriter::Create(TestDir("zero"), "Test", "x");
  ASSERT_TRUE((*writer)->Finish({.armed = 1}).ok());
  const auto sidecar = ReadSidecar((*writer)->path());
  EXPECT_EQ(sidecar->summary->armed, 1u);
  EXPECT_EQ(sidecar->summary->hits, 0u);
}

TEST(SidecarTest, ADirectoryThatCannotBeIsAnError) {
  const auto writer = SidecarWriter::Create("/proc/nowhere", "Test", "x");
  ASSERT_FALSE(writer.ok());
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("/proc/nowhere"));
}

// A child process appends without end until it is killed: every line whose Append had returned is
// there.
TEST(SidecarTest, AKilledWriterLosesAtMostATornLine) {
  int acknowledged[2];
  ASSERT_EQ(pipe(acknowledged), 0);
  const std::string dir = TestDir("killed");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto writer = SidecarWriter::Create(dir, "Test", "x");
    for (uint64_t seq = 0;; ++seq) {
      if (!writer.ok() || !(*writer)->Append(Numbered(seq)).ok()) _exit(1);
      if (write(acknowledged[1], "x", 1) != 1) _exit(1);
    }
  }
  close(acknowledged[1]);
  size_t written = 0;
  char bytes[64];
  while (written < 200) {
    const ssize_t got = read(acknowledged[0], bytes, sizeof(bytes));
    ASSERT_GT(got, 0);
    written += static_cast<size_t>(got);
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  for (ssize_t got; (got = read(acknowledged[0], bytes, sizeof(bytes))) > 0;) {
    written += static_cast<size_t>(got);
  }
  close(acknowledged[0]);
  const auto sidecar = ReadSidecar(dir + "/Test.x.snapshots.jsonl");
  ASSERT_TRUE(sidecar.ok()) << sidecar.status();
  EXPECT_GE(sidecar->reports.size(), written);
  EXPECT_LE(sidecar->reports.size(), written + 1);
  EXPECT_FALSE(sidecar->summary.has_value());
}

TEST(SidecarTest, ATornLastLineIsReportedAtEveryLength) {
  std::string line;
  AppendReportJson(Numbered(1), line);
  std::string first;
  AppendReportJson(Numbered(0), first);
  for (size_t length = 1; length < line.size(); ++length) {
    const auto sidecar = ParseSidecar(first + "\n" + line.substr(0, length), "x.jsonl");
    ASSERT_TRUE(sidecar.ok()) << sidecar.status();
    ASSERT_EQ(sidecar->reports.size(), 1u);
    ASSERT_TRUE(sidecar->torn_line.has_value()) << length;
    EXPECT_EQ(sidecar->torn_line->line_number, 2u);
    EXPECT_EQ(sidecar->torn_line->text, line.substr(0, length));
  }
  // Only the line end is missing: nothing is lost.
  const auto whole = ParseSidecar(first + "\n" + line, "x.jsonl");
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->reports.size(), 2u);
  EXPECT_FALSE(whole->torn_line.has_value());
}

TEST(SidecarTest, ABadLineInTheMiddleIsNamed) {
  std::string line;
  AppendReportJson(Numbered(0), line);
  const auto sidecar = ParseSidecar(line + "\n{\"schema\": oops}\n" + line + "\n", "dir/x.jsonl");
  ASSERT_FALSE(sidecar.ok());
  EXPECT_THAT(std::string(sidecar.status().message()), HasSubstr("dir/x.jsonl:2: "));
  EXPECT_THAT(std::string(sidecar.status().message()), HasSubstr("{\\\"schema\\\": oops}"));
  EXPECT_FALSE(ParseSidecar("\n", "x").ok());
}

TEST(SidecarTest, NothingFollowsTheSummary) {
  std::string summary;
  AppendSummaryJson(kThree, summary);
  const auto sidecar = ParseSidecar(summary + "\n" + summary + "\n", "x.jsonl");
  ASSERT_FALSE(sidecar.ok());
  EXPECT_THAT(std::string(sidecar.status().message()),
              HasSubstr("x.jsonl:1: a summary, which belongs at the end, and once"));
}

TEST(SidecarTest, ADamagedLineLeavesTheOthersReadable) {
  std::string line;
  AppendReportJson(Numbered(5), line);
  auto file = SidecarFile::FromText(line + "\n{oops\n" + line + "\n", "x.jsonl");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->size(), 3u);
  EXPECT_THAT(std::string(file->Document(1).status().message()), HasSubstr("x.jsonl:2: "));
  const auto document = file->Document(2);
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ((*document)->root().Member("seq")->Uint(), 5u);
  EXPECT_EQ(file->Document(3).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(file->Document(3).status().message()), HasSubstr("it holds 3"));
}

TEST(SidecarTest, OnePassVisitsEveryCaptureOfAnyLength) {
  // Lines about the reader's block, so that they end before, at and after its end.
  std::string text;
  std::vector<size_t> lengths;
  for (const size_t filler : {10ul, 262'000ul, 100ul, 524'288ul, 1ul, 261'600ul, 262'144ul, 5ul}) {
    Report report = Numbered(lengths.size());
    report.more.push_back({"filler", '"' + std::string(filler, 'x') + '"'});
    const size_t before = text.size();
    AppendReportJson(report, text);
    lengths.push_back(text.size() - before);
    text += '\n';
  }
  std::string summary;
  AppendSummaryJson(kThree, summary);
  const std::string torn = text.substr(0, 50);
  for (const std::string& end : {std::string(), summary + "\n", summary, torn}) {
    auto file = SidecarFile::FromText(text + end, "x.jsonl");
    ASSERT_TRUE(file.ok()) << file.status();
    size_t expected = 0;
    ASSERT_TRUE(file->ForEach([&](size_t i, SidecarFile::DocumentOr document) {
                      EXPECT_EQ(i, expected++);
                      EXPECT_TRUE(document.ok()) << document.status();
                      EXPECT_EQ((*document)->root().Member("seq")->Uint(), i);
                      return true;
                    })
                    .ok());
    EXPECT_EQ(expected, lengths.size());
    EXPECT_EQ(file->size(), lengths.size());
    EXPECT_EQ(file->torn_line().has_value(), end == torn);
    EXPECT_EQ(file->summary().has_value(), !end.empty() && end != torn);
  }
  auto file = SidecarFile::FromText(text + "{oops\n" + text, "x.jsonl");
  size_t damaged = 0;
  size_t visited = 0;
  ASSERT_TRUE(file->ForEach([&](size_t, SidecarFile::DocumentOr document) {
                    if (!document.ok()) {
                      ++damaged;
                      EXPECT_THAT(std::string(document.status().message()), HasSubstr("x.jsonl:9: "));
                    }
                    return ++visited < 12;
                  })
                  .ok());
  EXPECT_EQ(damaged, 1u);
  EXPECT_EQ(visited, 12u);
}

TEST(SidecarTest, ADocumentOverSeveralLinesIsOneCapture) {
  std::string line;
  AppendReportJson(Numbered(5), line);
  line.insert(1, "\n  ");
  for (const char* end : {"", "\n", "\n\n"}) {
    auto file = SidecarFile::FromText(line + end, "x.failure-dump.json");
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(file->is_single_document());
    ASSERT_EQ(file->size(), 1u);
    ASSERT_TRUE(file->Document(0).ok()) << file->Document(0).status();
    EXPECT_EQ(*file->ReadReport(0), Numbered(5));
    EXPECT_FALSE(file->torn_line().has_value());
  }
}

TEST(SidecarTest, LinesLongerThanABlockAreFound) {
  Report big = Numbered(0);
  big.more.push_back({"filler", '"' + std::string(700'000, 'x') + '"'});
  auto writer = SidecarWriter::Create(TestDir("big"), "Test", "x");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE((*writer)->Append(big).ok());
  auto file = SidecarFile::Open((*writer)->path());
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->size(), 3u);
  EXPECT_EQ(*file->ReadReport(2), big);
  SidecarFile moved = *std::move(file);
  EXPECT_EQ(*moved.ReadReport(0), big);
}

TEST(SidecarTest, AFileThatIsCutMeanwhileIsAnError) {
  auto writer = SidecarWriter::Create(TestDir("cut"), "Test", "x");
  for (int i = 0; i < 2; ++i) ASSERT_TRUE((*writer)->Append(Numbered(0)).ok());
  auto file = SidecarFile::Open((*writer)->path());
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(truncate((*writer)->path().c_str(), 100), 0);
  EXPECT_EQ(file->Document(1).status().code(), absl::StatusCode::kAborted);
}

TEST(SidecarTest, AMissingFileIsNotFound) {
  const absl::Status status = ReadSidecar("/nonexistent/x.jsonl").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/x.jsonl"));
}

// Limits the size of the files this process may write: beyond it a write fails as on a full disk,
// in the middle.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit = {.rlim_cur = bytes, .rlim_max = old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_;
  void (*old_handler_)(int);
};

TEST(SidecarTest, AFullDiskIsReturnedAndTheSummaryStillStandsOnItsOwnLine) {
  auto writer = SidecarWriter::Create(TestDir("full"), "Test", "x");
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append(Numbered(0)).ok());
  const std::string first = Content((*writer)->path());
  {
    // Room for the summary, not for another capture.
    const FileSizeLimit limit(first.size() + 300);
    const absl::Status failed = (*writer)->Append(Numbered(1));
    EXPECT_FALSE(failed.ok());
    EXPECT_THAT(std::string(failed.message()), HasSubstr((*writer)->path()));
    EXPECT_EQ(Content((*writer)->path()), first);
    EXPECT_TRUE((*writer)->Finish({.armed = 1, .hits = 2, .captured = 1, .lost = 1}).ok());
  }
  EXPECT_EQ((*writer)->lines_written(), 1u);
  EXPECT_EQ((*writer)->write_failures(), 1u);
  const auto sidecar = ReadSidecar((*writer)->path());
  ASSERT_TRUE(sidecar.ok()) << sidecar.status();
  EXPECT_EQ(sidecar->reports.size(), 1u);
  EXPECT_EQ(sidecar->summary->lost, 1u);
}

TEST(SidecarTest, CountersThatCannotBeWrittenAreInTheError) {
  auto writer = SidecarWriter::Create(TestDir("fuller"), "Test", "x");
  ASSERT_TRUE(writer.ok());
  const FileSizeLimit limit(10);
  const absl::Status status = (*writer)->Finish({.armed = 1, .hits = 21, .captured = 21});
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("1 armed, 21 hits, 21 captured"));
}

}  // namespace
}  // namespace watchsnap
