#include "snapshot/parts/task_json.h"

#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

// Bytes of the guest as text: what is not ASCII becomes the code point of the byte, as in all values.
std::string AsText(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xc0 | byte >> 6);
      text += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return text;
}

}  // namespace

void AppendTaskName(const TaskInfo& task, JsonObject& object) {
  if (task.pid.has_value()) object.Int("pid", *task.pid);
  if (task.has_comm) object.String("comm", AsText(task.comm()));
}

std::string AppendTask(const TaskInfo& task, std::string& out) {
  std::string unknown;
  const auto lacks = [&unknown](std::string_view name) {
    absl::StrAppend(&unknown, unknown.empty() ? "" : ", ", name);
  };
  JsonObject object(out);
  const auto number = [&](std::string_view name, const auto& value) {
    if (value.has_value()) {
      object.Int(name, *value);
    } else {
      lacks(name);
    }
  };
  object.Hex("address", task.address);
  number("pid", task.pid);
  number("tgid", task.tgid);
  if (task.has_comm) {
    object.String("comm", AsText(task.comm()));
  } else {
    lacks("comm");
  }
  if (task.state.has_value()) {
    object.String("state", std::string_view(&*task.state, 1));
  } else {
    lacks("state");
  }
  const std::string_view policy = SchedPolicyName(task.policy.value_or(~0u));
  if (policy.empty()) {
    number("policy", task.policy);
  } else {
    object.String("policy", policy);
  }
  number("prio", task.prio);
  number("cpu", task.cpu);
  object.Close();
  return unknown;
}

}  // namespace watchsnap
