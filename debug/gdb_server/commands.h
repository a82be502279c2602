// The operands of the remote-protocol packets that have any worth a parser: memory, breakpoints, vCont,
// thread ids, qXfer.
//
// Threads: pure functions. Errors: nullopt for what the manual's grammar does not allow; the caller
// answers with an error packet. Numbers are checked to fit and lengths to stay below kMaxPacket.
// Source: "Remote Protocol", "Packets" and "General Query Packets", appendix E.2 and E.4 of the GDB manual.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_COMMANDS_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_COMMANDS_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace watchsnap::gdb {

// "ADDR,LENGTH", as of m, and of M and X with ":DATA" behind it.
struct MemoryOperands {
  uint64_t address = 0;
  uint64_t length = 0;
  std::string_view data;  // what follows the colon
};
std::optional<MemoryOperands> ParseMemory(std::string_view text);

// "TYPE,ADDR,KIND" of Z and z. Conditions and commands (";…") are not supported: nullopt.
enum class BreakpointType { kSoftware = 0, kHardware = 1, kWrite = 2, kRead = 3, kAccess = 4 };
struct BreakpointOperands {
  BreakpointType type = BreakpointType::kSoftware;
  uint64_t address = 0;
  uint64_t kind = 0;  // of a watch: its length in bytes
};
std::optional<BreakpointOperands> ParseBreakpoint(std::string_view text);

// A thread id: a positive number, kAllThreads ("-1") or kAnyThread ("0").
inline constexpr int kAllThreads = -1;
inline constexpr int kAnyThread = 0;
std::optional<int> ParseThread(std::string_view text);

// What a vCPU is to do.
enum class RunAction { kStay, kContinue, kStep };

// The actions of "vCont" behind its name (";c:1;s"): one for each of `vcpus`, thread n being vCPU n − 1.
// The leftmost action that names a thread is that thread's; who is named by none stays. Signals are
// accepted and mean nothing to a vCPU. nullopt also for actions that only non-stop mode has (t, r).
std::optional<std::vector<RunAction>> ParseVCont(std::string_view text, int vcpus);

// "OBJECT:read:ANNEX:OFFSET,LENGTH" of qXfer.
struct TransferOperands {
  std::string_view object;
  std::string_view annex;
  uint64_t offset = 0;
  uint64_t length = 0;
};
std::optional<TransferOperands> ParseTransfer(std::string_view text);

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_COMMANDS_H_
