#include "vmm/run_end.h"

namespace watchsnap {

std::string_view RunEndKindName(RunEndKind kind) {
  switch (kind) {
    case RunEndKind::kPowerOff:
      return "power-off";
    case RunEndKind::kReset:
      return "reset";
    case RunEndKind::kTripleFault:
      return "triple fault";
    case RunEndKind::kPanic:
      return "guest panic";
    case RunEndKind::kDeadline:
      return "deadline";
    case RunEndKind::kInterrupted:
      return "interrupted";
    case RunEndKind::kInternalError:
      return "internal error";
  }
  return "unknown";
}

}  // namespace watchsnap
