// CaptureTable: captures as lines for people, as they come.
//
//      TIME  VCPU  SYMBOL                    OLD → NEW            WRITER                            PAUSE
//   4.1012s     0  jiffies_64     4294893231 → 4294893232         tick_do_update_jiffies64+0x5c      48 µs
//
// Threads: one at a time. Numbers that a kernel thinks of as signed or as pointers are shown as hex
// where they are large.
#ifndef WATCHSNAP_SNAPSHOT_CLI_CAPTURE_TABLE_H_
#define WATCHSNAP_SNAPSHOT_CLI_CAPTURE_TABLE_H_

#include <string>

#include "snapshot/report/report.h"

namespace watchsnap {

std::string CaptureTableHeader();
std::string CaptureTableLine(const Report& report);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_CAPTURE_TABLE_H_
