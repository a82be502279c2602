#include "snapshot/cli/capture_table.h"

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

// Values past this are more likely pointers or negative numbers than counts.
constexpr uint64_t kShowAsHex = uint64_t{1} << 48;

std::string Value(const std::optional<uint64_t>& value) {
  if (!value.has_value()) return "?";
  return *value >= kShowAsHex ? absl::StrFormat("%#x", *value) : absl::StrCat(*value);
}

std::string Writer(const std::optional<CodeLocation>& writer) {
  if (!writer.has_value()) return "";
  const std::string place =
      writer->symbol.empty()
          ? absl::StrFormat("%#x", writer->address.value_or(writer->next_address.value_or(0)))
          : absl::StrFormat("%s+%#x", writer->symbol, writer->offset);
  return writer->address.has_value() ? place : absl::StrCat("before ", place);
}

std::string Line(const std::optional<CodeLocation>& writer) {
  if (!writer.has_value() || writer->file.empty()) return "";
  return writer->line.has_value() ? absl::StrCat(writer->file, ":", *writer->line) : writer->file;
}

}  // namespace

std::string CaptureTableHeader() {
  return absl::StrFormat("%11s  %4s  %-16s  %12s   %-12s  %9s  %-30s  %s\n", "TIME", "VCPU", "SYMBOL",
                         "OLD", "NEW", "PAUSE", "WRITER", "LINE");
}

std::string CaptureTableLine(const Report& report) {
  const Trigger& trigger = report.trigger;
  const std::string time =
      trigger.guest_time_ns.has_value()
          ? absl::StrFormat("%.6f s", static_cast<double>(*trigger.guest_time_ns) / 1e9)
          : "?";
  return absl::StrFormat("%11s  %4s  %-16s  %12s → %-12s  %6.0f µs  %-30s  %s\n", time,
                         trigger.vcpu.has_value() ? absl::StrCat(*trigger.vcpu) : "-", report.tag,
                         Value(trigger.old_value), Value(trigger.new_value),
                         static_cast<double>(report.cost.pause_ns) / 1e3, Writer(trigger.writer),
                         Line(trigger.writer));
}

}  // namespace watchsnap
