#include "debug/symbols/symbols_report.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace watchsnap {
namespace {

constexpr size_t kNearMisses = 8;
constexpr size_t kPlacesInText = 16;

std::string Json(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      absl::StrAppend(&out, "\\", std::string_view(&c, 1));
    } else if (byte < 0x20 || byte >= 0x7f) {
      // One byte, one code point: names that are not ASCII stay valid JSON and distinguishable.
      absl::StrAppendFormat(&out, "\\u%04x", byte);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

std::string_view SectionOf(const SymbolEntry& entry) {
  switch (entry.place) {
    case SymbolEntry::Place::kUndefined: return "(undefined)";
    case SymbolEntry::Place::kAbsolute: return "(absolute)";
    case SymbolEntry::Place::kCommon: return "(common)";
    case SymbolEntry::Place::kSection: break;
  }
  return entry.section;
}

void Append(SymbolsReport& report, std::string_view name, absl::Span<const SymbolEntry> entries,
            const absl::Status& watchable, const DataSymbol& data,
            absl::Span<const std::string> near) {
  absl::StrAppend(&report.text, name, "\n");
  std::vector<std::string> json_entries;
  for (const SymbolEntry& entry : entries) {
    const uint64_t alignment = AddressAlignment(entry.address);
    if (json_entries.size() < kPlacesInText) {
      absl::StrAppendFormat(&report.text,
                            "  address 0x%016x  size %d  section %s  alignment %d  type %s\n",
                            entry.address, entry.size, SectionOf(entry), alignment,
                            SymbolTypeName(entry));
    }
    json_entries.push_back(absl::StrFormat(
        R"({"address":"0x%x","size":%d,"section":%s,"alignment":%d,"type":%s})", entry.address,
        entry.size, Json(SectionOf(entry)), alignment, Json(SymbolTypeName(entry))));
  }
  if (entries.size() > kPlacesInText) {
    absl::StrAppend(&report.text, "  and ", entries.size() - kPlacesInText,
                    " more places (all of them with --json)\n");
  }
  std::string verdict;
  if (watchable.ok()) {
    absl::StrAppendFormat(&report.text, "  watchable: yes, %d bytes\n", WatchLength(data));
    verdict = absl::StrFormat(R"("watchable":true,"watched_bytes":%d)", WatchLength(data));
  } else {
    absl::StrAppend(&report.text, "  watchable: no, ", watchable.message(), "\n");
    verdict = absl::StrCat(R"("watchable":false,"reason":)", Json(watchable.message()));
    report.all_watchable = false;
  }
  if (!near.empty() && !entries.empty()) {  // else they stand in the reason
    absl::StrAppend(&report.text, "  near misses: ", absl::StrJoin(near, ", "), "\n");
  }
  std::vector<std::string> json_near;
  for (const std::string& miss : near) json_near.push_back(Json(miss));
  absl::StrAppend(&report.json, R"({"name":)", Json(name), R"(,"entries":[)",
                  absl::StrJoin(json_entries, ","), "],", verdict, R"(,"near_misses":[)",
                  absl::StrJoin(json_near, ","), "]}");
}

}  // namespace

SymbolsReport DescribeSymbols(const KernelSymbols& kernel,
                              absl::Span<const std::string_view> names) {
  SymbolsReport report;
  const std::string build_id =
      kernel.build_id().empty() ? "" : absl::BytesToHexString(kernel.build_id());
  report.text = absl::StrFormat("%s: %d symbols, build ID %s\n", kernel.path(),
                                kernel.symbol_count(), build_id.empty() ? "(none)" : build_id);
  report.json = absl::StrCat(R"({"schema":"watchsnap.symbols/1","vmlinux":)", Json(kernel.path()),
                             R"(,"build_id":)", Json(build_id), R"(,"symbols":[)");
  const std::vector<std::vector<SymbolEntry>> found = kernel.ResolveMany(names);
  for (size_t i = 0; i < names.size(); ++i) {
    DataSymbol data;
    const absl::Status watchable = kernel.CheckWatchable(names[i], found[i], &data);
    const std::vector<std::string> near = kernel.NearMisses(names[i], kNearMisses);
    if (i > 0) report.json += ",";
    Append(report, names[i], found[i], watchable, data, near);
  }
  absl::StrAppend(&report.json, "]}\n");
  return report;
}

}  // namespace watchsnap
