// Whether a JSON document is what schema.md says: a capture (of a sidecar or a failure dump) or a
// summary. For tests, and for people who write such documents by other means.
//
//   SchemaFindings findings = CheckSchema((*document)->root());
//   EXPECT_THAT(findings.errors, IsEmpty());
//
// Threads: pure functions. The shapes are in schema_shapes.cc; schema.md and they are kept together by
// schema_check_test, which checks the page's own examples.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_SCHEMA_CHECK_H_
#define WATCHSNAP_SNAPSHOT_REPORT_SCHEMA_CHECK_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "snapshot/report/json_document.h"

namespace watchsnap {

struct SchemaFindings {
  // `vcpus[0].task.pid: expected an integer, found "x"`
  std::vector<std::string> errors;
  // Members that schema.md does not name, by path: no error, readers skip them.
  std::vector<std::string> unknown;
  // Members that stood there, without indexes and names of the user's: `maps.*.entries[].key`.
  std::set<std::string> seen;
};

SchemaFindings CheckSchema(JsonNode root);

// Every capture and the summary of a file; INVALID_ARGUMENT with the errors of the first capture that
// has any.
absl::Status CheckFileSchema(const std::string& path);

// All that the shapes know, as in `seen`.
std::set<std::string> KnownMembers();

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_SCHEMA_CHECK_H_
