// A Report as one line of JSON (schema watchsnap.capture/1), and a summary as one
// (watchsnap.summary/1).
//
// Addresses and registers are "0x…" strings, so that readers with 53-bit numbers keep them whole;
// counts, times and values are JSON integers. Keys of parts that are not there are absent; `slot`,
// `old` and `new` are null then, as CONTRACT.md says. A tag that is not UTF-8 is shown with U+FFFD
// and carried whole in `tag_hex`.
//
// Threads: free functions. Cost: appends to the caller's string, which is worth reusing: thousands
// of lines a second.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_REPORT_JSON_H_
#define WATCHSNAP_SNAPSHOT_REPORT_REPORT_JSON_H_

#include <string>

#include "snapshot/report/report.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {

// Without the line end. Line ends inside JsonMembers (which may not have any) become spaces.
void AppendReportJson(const Report& report, std::string& out);

void AppendSummaryJson(const WatchCounters& counters, std::string& out);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_REPORT_JSON_H_
