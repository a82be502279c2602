// A task as JSON: the `task` of schema.md. For every part whose captures name tasks.
// Threads: free functions.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_TASK_JSON_H_
#define WATCHSNAP_SNAPSHOT_PARTS_TASK_JSON_H_

#include <string>

#include "debug/kernel/task_reader.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {

// {"address":"0x…","pid":1,"tgid":1,"comm":"init","state":"R",…}; what is not known is left out, and
// its names are returned, with commas: "prio, cpu".
std::string AppendTask(const TaskInfo& task, std::string& out);

// The members that name a task, pid and comm, into an object that is being written.
void AppendTaskName(const TaskInfo& task, JsonObject& object);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_TASK_JSON_H_
