// A file that is there whole or not at all: written to a temporary name beside it, synced, renamed.
#ifndef WATCHSNAP_SNAPSHOT_SCX_WHOLE_FILE_H_
#define WATCHSNAP_SNAPSHOT_SCX_WHOLE_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace watchsnap {

// Replaces what stands at `path`. On an error nothing new is there.
absl::Status WriteWholeFile(const std::string& path, std::string_view contents);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SCX_WHOLE_FILE_H_
