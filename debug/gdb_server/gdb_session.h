// GdbSession: the conversation with one gdb: packets in, answers out, over a Debugger.
//
//   GdbSession session(&debugger, on_message);
//   absl::Status attached = session.Begin();               // the machine stands still
//   std::optional<std::string> answer = session.OnPacket("qSupported:swbreak+");
//   ... gdb has the guest run: no answer until OnStopNotice (debugger.stop_fd()) or OnInterrupt has one ...
//   session.End();                                         // the guest runs on
//
// What is spoken: all-stop mode; each vCPU is a thread, n + 1 being vCPU n; registers and memory; vCont
// with an action per thread; breakpoints Z0 and Z1, write watches Z2. Z3 and Z4 are answered as not
// supported. k and vKill detach: a debugger does not end somebody else's run.
//
// Threads: one. Ownership: borrows the debugger. Errors: are answered to gdb as "E" packets; the reason in
// words, which the protocol has no place for, goes to `on_message`.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_GDB_SESSION_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_GDB_SESSION_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "debug/gdb_server/debugger.h"

namespace watchsnap::gdb {

class GdbSession {
 public:
  using OnMessage = std::function<void(std::string_view)>;
  GdbSession(Debugger* debugger, OnMessage on_message)
      : debugger_(*debugger), on_message_(std::move(on_message)) {}

  absl::Status Begin() { return debugger_.Attach(); }
  // Also after gdb has gone without a word, and while the guest runs.
  void End();

  // The answer's payload; nothing where the answer comes later (the guest runs now).
  std::optional<std::string> OnPacket(std::string_view packet);
  std::optional<std::string> OnInterrupt();
  std::optional<std::string> OnStopNotice();
  // What is said when the machine has ended; nothing where gdb does not wait for a stop.
  std::optional<std::string> OnMachineEnd() const;

  // gdb has taken its leave: close the connection after the answer.
  bool over() const { return over_; }
  // From the next packet on neither side acknowledges.
  bool no_acknowledgements() const { return no_acknowledgements_; }

 private:
  std::string Query(std::string_view packet);
  std::string Supported(std::string_view features);
  std::string Transfer(std::string_view operands) const;
  std::string ThreadList() const;
  std::string ThreadInfo(std::string_view thread);
  std::string SelectThread(std::string_view operands);
  std::string ReadMemory(std::string_view operands);
  std::string WriteMemory(std::string_view operands, bool binary);
  std::string WriteOne(std::string_view operands);
  std::string WriteAll(std::string_view operands);
  std::string Store(const VcpuRegisters& registers, const absl::Status& parsed, bool general,
                    bool special);
  std::string SetBreakpoint(std::string_view operands, bool insert);
  std::optional<std::string> Run(absl::Span<const RunAction> actions);
  std::optional<std::string> RunLegacy(char command);
  std::string Told(const Stop& stop);
  std::string StopReply() const;
  std::string Refuse(std::string_view code, const absl::Status& why);

  Debugger& debugger_;
  const OnMessage on_message_;
  int vcpu_ = 0;       // that g, G, p, P, m, M, X mean
  int step_vcpu_ = -1;  // that Hc named for 's'; -1: vcpu_
  Stop stop_ = {Stop::kInterrupted};
  bool just_attached_ = true;
  bool running_ = false;
  bool over_ = false;
  bool no_acknowledgements_ = false;
  bool knows_swbreak_ = false;
  bool knows_hwbreak_ = false;
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_GDB_SESSION_H_
