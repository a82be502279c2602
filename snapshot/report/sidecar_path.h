// The file names of sidecars: {dir}/{test_name}.{tag}.snapshots.jsonl.
//
// In both names every byte outside [A-Za-z0-9_.-] is percent-encoded ("a/b" is "a%2Fb"), so
// different tags of a test never share a file, and no tag leaves the directory.
//
// A file name holds at most 255 bytes (NAME_MAX). Where the whole would be longer, first the
// encoded test name is shortened to at most 100 bytes, then the encoded tag to what is left. A
// shortened name is its beginning, "%~", and 32 hexadecimal digits: the 128-bit FNV-1a hash of the
// whole name before encoding. "%~" stands in no name that was not shortened. Every line of the file
// carries the whole tag.
//
// Threads: free functions without state.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_PATH_H_
#define WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_PATH_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace watchsnap {

std::string SidecarFileName(std::string_view test_name, std::string_view tag);

std::string SidecarPath(std::string_view dir, std::string_view test_name, std::string_view tag);

// {dir}/{test_name}.failure-dump.json; for the n-th of a run, from 2 on, ….failure-dump.n.json.
std::string FailureDumpPath(std::string_view dir, std::string_view test_name, uint64_t n);

// The percent-encoding alone.
std::string EncodeForFileName(std::string_view name);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_SIDECAR_PATH_H_
