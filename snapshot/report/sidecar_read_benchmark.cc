// How long reading a large sidecar takes, against simdjson that merely parses the same text.
//
//   ./bazelw run //snapshot/report:sidecar_read_benchmark [-- MEGABYTES]      # 100 if not said
//
// Writes a sidecar as a run of four vCPUs would (registers, stacks, tasks, BPF maps, variables), and
// then in turn, five times:
//   parse    simdjson's DOM parser over each line of the file, which is in memory already; one parser
//   load     the file into simdjson's buffer and parse_many over it
//   open     SidecarFile::Open and finding its lines; documents: each capture parsed
//   read     SidecarFile::Open, each capture as a Snapshot, three values of each by name
//   reports  all captures as Report structs (ReadSidecar)
// The best time of each counts. Exit code 1 if `read`, which includes reading the file, takes more than
// twice `parse`, or if what was read is not what was written.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <utility>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "simdjson.h"
#include "snapshot/accessor/snapshot.h"
#include "snapshot/report/report.h"
#include "snapshot/report/sidecar_file.h"
#include "snapshot/report/sidecar_reader.h"
#include "snapshot/report/sidecar_writer.h"

namespace watchsnap {
namespace {

constexpr int kRounds = 5;
constexpr double kMostRatio = 2.0;
constexpr int kVcpus = 4;
constexpr const char* kRegisters[] = {
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi",    "rsp", "rbp",     "r8",      "r9",  "r10", "r11",
    "r12", "r13", "r14", "r15", "rip", "rflags", "cr3", "fs_base", "gs_base", "cr0", "cr4", "cr2"};

std::string Stack(std::mt19937_64& random) {
  std::string json = "[";
  for (int frame = 0; frame < 12; ++frame) {
    absl::StrAppendFormat(&json,
                          R"(%s{"address":"0x%x","symbol":"%s","offset":%d,"file":"kernel/sched/)"
                          R"(core.c","line":%d})",
                          frame == 0 ? "" : ",", 0xffffffff81000000 + random() % 0x1000000,
                          frame % 2 == 0 ? "scheduler_tick" : "update_process_times",
                          random() % 4096, random() % 9000);
  }
  return json + "]";
}

Report Capture(uint64_t seq, std::mt19937_64& random) {
  Report report;
  report.tag = "jiffies_64";
  report.seq = seq;
  report.trigger.kind = TriggerKind::kWatch;
  report.trigger.symbol = report.tag;
  report.trigger.slot = 1;
  report.trigger.old_value = 4294892296 + seq;
  report.trigger.new_value = 4294892297 + seq;
  report.trigger.guest_time_ns = 1'000'000 * seq;
  report.trigger.more.push_back({"stack", Stack(random)});
  for (int cpu = 0; cpu < kVcpus; ++cpu) {
    VcpuReport& vcpu = report.vcpus.emplace_back();
    vcpu.index = cpu;
    for (const char* name : kRegisters) {
      vcpu.registers.push_back({name, random() >> (random() % 60)});
    }
    vcpu.symbol = "pv_native_safe_halt";
    vcpu.offset = 15;
    vcpu.more.push_back(
        {"task", absl::StrFormat(R"({"address":"0x%x","pid":%d,"tgid":%d,"comm":"swapper/%d",)"
                                 R"("state":"R","policy":"SCHED_NORMAL","cpu":%d,"prio":120})",
                                 random(), random() % 4096, random() % 4096, cpu, cpu)});
    vcpu.more.push_back({"stack", Stack(random)});
  }
  std::string maps = absl::StrFormat(
      R"({"mini.bss":{"id":3,"type":"array","key_size":4,"value_size":64,"max_entries":1,)"
      R"("value":{"nr_enqueued":%d,"stats":{"min":%d,"max":%d,"mode":"FAST"},"ratio":%g}},)"
      R"("counters":{"id":4,"type":"hash","entries":[)",
      seq, -static_cast<int64_t>(random() % 100), random() % 100000, 0.25 + seq);
  for (int key = 0; key < 40; ++key) {
    absl::StrAppendFormat(&maps, R"(%s{"key":%d,"value":{"hits":%d,"last_ns":%d,"comm":"kworker"}})",
                          key == 0 ? "" : ",", key, random() % 100000, random() >> 8);
  }
  report.more.push_back({"maps", maps + R"(],"entries_total":40}})"});
  report.more.push_back(
      {"variables", absl::StrFormat(R"({"jiffies_64":{"address":"0xffffffff82a07980",)"
                                    R"("type":"u64","bytes":8,"value":%d}})",
                                    4294892297 + seq)});
  return report;
}

std::string WriteFile(const std::string& dir, uint64_t bytes) {
  auto writer = SidecarWriter::Create(dir, "benchmark", "jiffies_64");
  CHECK_OK(writer.status());
  std::mt19937_64 random(1);
  for (uint64_t seq = 0; std::filesystem::file_size((*writer)->path()) < bytes; ++seq) {
    CHECK_OK((*writer)->Append(Capture(seq, random)));
  }
  const uint64_t lines = (*writer)->lines_written();
  CHECK_OK((*writer)->Finish({.armed = 1, .hits = lines, .captured = lines}));
  return (*writer)->path();
}

double ParseLines(const simdjson::padded_string& text, uint64_t& documents) {
  const auto start = std::chrono::steady_clock::now();
  simdjson::dom::parser parser;
  documents = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const char* line_end = static_cast<const char*>(std::memchr(at, '\n', end - at));
    CHECK(!parser.parse(at, line_end - at, /*realloc_if_needed=*/false).error());
    ++documents;
    at = line_end + 1;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double LoadAndParse(const std::string& path) {
  const auto start = std::chrono::steady_clock::now();
  simdjson::padded_string text;
  CHECK(!simdjson::padded_string::load(path).get(text));
  simdjson::dom::parser parser;
  simdjson::dom::document_stream documents;
  CHECK(!parser.parse_many(text).get(documents));
  for (auto document : documents) CHECK(!document.error());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Open(const std::string& path, bool documents) {
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<SidecarFile> file = SidecarFile::Open(path);
  CHECK_OK(file.status());
  if (documents) {
    CHECK_OK(file->ForEach([](size_t, const SidecarFile::DocumentOr& document) {
      CHECK_OK(document.status());
      return true;
    }));
  } else {
    CHECK_GT(file->size(), 0u);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Read(const std::string& path, uint64_t& captures) {
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<SidecarFile> file = SidecarFile::Open(path);
  CHECK_OK(file.status());
  captures = 0;
  CHECK_OK(file->ForEach([&](size_t i, SidecarFile::DocumentOr document) {
    const Snapshot snapshot(std::move(document));
    CHECK_EQ(*snapshot.KernelVar("jiffies_64").AsU64(), 4294892297 + i);
    CHECK_EQ(*snapshot.Map("mini.bss").Get("nr_enqueued").AsU64(), i);
    CHECK_EQ(*snapshot.Get("vcpus[3].task.comm").AsStr(), "swapper/3");
    ++captures;
    return true;
  }));
  CHECK_EQ(file->summary()->captured, captures);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double ReadReports(const std::string& path, uint64_t captures) {
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<Sidecar> sidecar = ReadSidecar(path);
  CHECK_OK(sidecar.status());
  CHECK_EQ(sidecar->reports.size(), captures);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int Main(uint64_t megabytes) {
  const std::string dir = std::filesystem::temp_directory_path() /
                          absl::StrCat("sidecar_read_benchmark.", getpid());
  const std::string path = WriteFile(dir, megabytes * 1'000'000);
  const auto bytes = static_cast<double>(std::filesystem::file_size(path));
  double parse = 1e9, load = 1e9, open = 1e9, documents = 1e9, read = 1e9, reports = 1e9;
  uint64_t captures = 0;
  {
    simdjson::padded_string text;
    CHECK(!simdjson::padded_string::load(path).get(text));
    for (int round = 0; round < kRounds; ++round) {
      uint64_t lines = 0;
      parse = std::min(parse, ParseLines(text, lines));
      load = std::min(load, LoadAndParse(path));
      open = std::min(open, Open(path, false));
      documents = std::min(documents, Open(path, true));
      read = std::min(read, Read(path, captures));
      CHECK_EQ(lines, captures + 1);  // and the summary
    }
  }
  for (int round = 0; round < 2; ++round) reports = std::min(reports, ReadReports(path, captures));
  std::filesystem::remove_all(dir);

  std::printf("%.1f MB, %d captures of %.1f KB; simdjson runs %s\n", bytes / 1e6,
              static_cast<int>(captures), bytes / 1e3 / static_cast<double>(captures),
              simdjson::get_active_implementation()->name().c_str());
  const auto line = [&](const char* what, double seconds) {
    std::printf("  %-46s %7.1f ms  %6.0f MB/s  %5.2f\n", what, seconds * 1e3,
                bytes / 1e6 / seconds, seconds / parse);
  };
  line("parse: simdjson alone, text in memory", parse);
  line("load: simdjson's load and parse_many", load);
  line("open: its lines found", open);
  line("documents: every capture parsed", documents);
  line("read: every capture, three values of each", read);
  line("reports: every capture as a Report", reports);
  std::printf("reading takes %.2f times as long as merely parsing (at most %.1f)\n", read / parse,
              kMostRatio);
  return read / parse <= kMostRatio ? 0 : 1;
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  return watchsnap::Main(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100);
}
