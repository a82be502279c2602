// CaptureTable: captures as lines for people, as they come.
//
//      TIME  VCPU  SYMBOL          OLD   NEW           PAUSE  WRITER                     LINE
// 4.1012 s     0  total_forks      95 → 96           61 µs  copy_process+0x1df5        kernel/fork.c:2470
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
