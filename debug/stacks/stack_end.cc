#include "debug/stacks/stack_unwinder.h"

namespace watchsnap {

bool IsWhole(StackEnd end) {
  switch (end) {
    case StackEnd::kUserSpace:
    case StackEnd::kKernelEntry:
    case StackEnd::kKernelThread:
    case StackEnd::kCpuStart:
    case StackEnd::kEndOfStack:
      return true;
    case StackEnd::kNotCopied:
    case StackEnd::kNoUnwindEntry:
    case StackEnd::kBadEntry:
    case StackEnd::kLoop:
    case StackEnd::kMaxFrames:
      return false;
  }
  return false;
}

std::string_view StackEndName(StackEnd end) {
  switch (end) {
    case StackEnd::kUserSpace:
      return "user space";
    case StackEnd::kKernelEntry:
      return "entry from user space";
    case StackEnd::kKernelThread:
      return "start of a kernel thread";
    case StackEnd::kCpuStart:
      return "start of the CPU";
    case StackEnd::kEndOfStack:
      return "end of stack";
    case StackEnd::kNotCopied:
      return "ran out of copied bytes";
    case StackEnd::kNoUnwindEntry:
      return "no unwind information";
    case StackEnd::kBadEntry:
      return "unusable unwind information";
    case StackEnd::kLoop:
      return "the stack loops";
    case StackEnd::kMaxFrames:
      return "too many frames";
  }
  return "unknown";
}

}  // namespace watchsnap
