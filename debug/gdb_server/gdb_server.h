// GdbServer: lets one gdb at a time attach to a machine, over a Unix socket.
//
//   absl::StatusOr<std::unique_ptr<GdbServer>> server = GdbServer::Listen("/tmp/w/gdb", &debugger, on_message);
//   ... the machine starts ...
//   (*server)->Start();  // a gdb that has connected before waited
//   ...
//   (*server)->Stop();   // before the machine is destroyed
//
// The machine stops when gdb connects and runs on when it detaches, or goes without a word. A second gdb is
// turned away while one is there. The socket is the user's alone (mode 0600): who can connect owns the guest.
//
// Threads: Listen, Start and Stop on one thread; everything else happens on the server's own ("gdb"). `on_message`
// comes from there.
// Ownership: borrows the debugger. Owns the socket and unlinks it at Stop.
// Errors of Listen: InvalidArgument (path empty or longer than a socket's may be), AlreadyExists (something
// is at that path), else what the system said.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_GDB_SERVER_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_GDB_SERVER_H_

#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "debug/gdb_server/debugger.h"
#include "debug/gdb_server/gdb_session.h"

namespace watchsnap::gdb {

// The longest path of a Unix socket, in bytes (sun_path of sockaddr_un holds a terminating zero too).
inline constexpr size_t kMaxSocketPath = 107;

// Whether a server could be at `path`, as far as can be told without making it.
absl::Status CheckSocketPath(std::string_view path);

class GdbServer {
 public:
  static absl::StatusOr<std::unique_ptr<GdbServer>> Listen(const std::string& path, Debugger* debugger,
                                                           GdbSession::OnMessage on_message);
  ~GdbServer();
  void Start();
  // A gdb that waits for the guest is told that the machine has ended. The guest is left as it is: its
  // machine is about to be stopped.
  void Stop();

 private:
  GdbServer(std::string path, Debugger* debugger, GdbSession::OnMessage on_message)
      : path_(std::move(path)), debugger_(*debugger), on_message_(std::move(on_message)) {}
  void Loop();
  void Serve(int connection);
  // False if it must stop, or gdb is gone.
  bool Send(int connection, std::string_view bytes);
  void Say(std::string_view text) const {
    if (on_message_) on_message_(text);
  }

  const std::string path_;
  Debugger& debugger_;
  const GdbSession::OnMessage on_message_;
  int listener_ = -1;
  int stop_fd_ = -1;  // an eventfd: readable once Stop was called
  std::thread thread_;
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_GDB_SERVER_H_
