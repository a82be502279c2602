#include "testing/scenario/scheduler_log.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace watchsnap {
namespace {

// include/linux/kern_levels.h: 0 to 3 are errors. The level is the lowest three bits of the prefix.
constexpr uint32_t kLevelMask = 7;
constexpr uint32_t kLowestError = 3;

}  // namespace

std::string SchedulerEnd::Text() const {
  return absl::StrCat("scheduler '", name, "' was disabled by the kernel: ", reason,
                      message.empty() ? "" : ": ", message);
}

void SchedulerLog::AddRecord(std::string_view record) {
  const size_t semicolon = record.find(';');
  if (semicolon == std::string_view::npos) return;
  uint32_t prefix = 0;
  if (!absl::SimpleAtoi(record.substr(0, record.find(',')), &prefix)) return;
  std::string_view text = record.substr(semicolon + 1);
  text = text.substr(0, text.find('\n'));
  if (!absl::ConsumePrefix(&text, "sched_ext: ")) return;

  // A message belongs to the end before it.
  if (!ends_.empty() && ends_.back().message.empty()) {
    std::string_view message = text;
    if (absl::ConsumePrefix(&message, absl::StrCat(ends_.back().name, ": "))) {
      ends_.back().message = message;
      return;
    }
  }
  // Also "BPF sub-scheduler".
  if (!absl::ConsumePrefix(&text, "BPF ")) return;
  const size_t begin = text.find('"');
  const size_t disabled = text.find("\" disabled (");
  if (begin == std::string_view::npos || disabled == std::string_view::npos || disabled <= begin ||
      text.back() != ')') {
    return;
  }
  SchedulerEnd end;
  end.name = text.substr(begin + 1, disabled - begin - 1);
  text.remove_prefix(text.find('(', disabled) + 1);
  text.remove_suffix(1);
  end.reason = text;
  end.error = (prefix & kLevelMask) <= kLowestError;
  ends_.push_back(std::move(end));
}

}  // namespace watchsnap
