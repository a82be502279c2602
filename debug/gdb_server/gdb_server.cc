#include "debug/gdb_server/gdb_server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "debug/gdb_server/packet.h"

namespace watchsnap::gdb {
namespace {

bool Readable(const pollfd& fd) { return (fd.revents & (POLLIN | POLLHUP | POLLERR)) != 0; }

}  // namespace

absl::Status CheckSocketPath(std::string_view path) {
  if (path.empty() || path.size() > kMaxSocketPath || path.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("a Unix socket's path has 1 to ", kMaxSocketPath, " bytes, '", path, "' has ",
                     path.size(), ": choose a shorter one, as /tmp/gdb.sock"));
  }
  struct stat there;
  if (lstat(std::string(path).c_str(), &there) == 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("there is something at '", path, "' already, where the gdb socket shall be: remove "
                     "it if no run uses it, or choose another path"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<GdbServer>> GdbServer::Listen(const std::string& path,
                                                             Debugger* debugger,
                                                             GdbSession::OnMessage on_message) {
  absl::Status status = CheckSocketPath(path);
  if (!status.ok()) return status;
  auto server = std::unique_ptr<GdbServer>(new GdbServer(path, debugger, std::move(on_message)));
  server->stop_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (server->stop_fd_ < 0) return absl::ErrnoToStatus(errno, "eventfd");
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return absl::ErrnoToStatus(errno, "making the gdb socket");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  // On Linux the socket's mode before bind is that of its file.
  if (fchmod(listener, 0600) != 0 ||
      bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    close(listener);
    return absl::ErrnoToStatus(error, absl::StrCat("making the gdb socket '", path, "'"));
  }
  server->listener_ = listener;  // from here on the destructor unlinks it
  if (listen(listener, 1) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("listening at '", path, "'"));
  }
  return server;
}

void GdbServer::Start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "gdb");
    Loop();
  });
}

GdbServer::~GdbServer() {
  Stop();
  if (listener_ >= 0) {
    close(listener_);
    unlink(path_.c_str());
  }
  if (stop_fd_ >= 0) close(stop_fd_);
}

void GdbServer::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t ignored = write(stop_fd_, &one, sizeof one);
  thread_.join();
}

void GdbServer::Loop() {
  for (;;) {
    pollfd fds[] = {{stop_fd_, POLLIN, 0}, {listener_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (Readable(fds[0])) return;
    if (!Readable(fds[1])) continue;
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0) continue;
    Serve(connection);
    close(connection);
  }
}

bool GdbServer::Send(int connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(sent);
      continue;
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return false;
    // A gdb that does not read must not keep the machine from its end.
    pollfd fds[] = {{stop_fd_, POLLIN, 0}, {connection, POLLOUT, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return false;
    if (Readable(fds[0])) return false;
  }
  return true;
}

void GdbServer::Serve(int connection) {
  GdbSession session(&debugger_, on_message_);
  absl::Status attached = session.Begin();
  if (!attached.ok()) {
    Say(absl::StrCat("cannot attach: ", attached.message()));
    return;
  }
  Say("attached: all vCPUs are stopped");
  PacketReader reader;
  std::string last_frame;  // for a peer that asks for it again
  const auto answer = [&](const std::optional<std::string>& payload) {
    if (!payload.has_value()) return true;
    last_frame = FramePacket(*payload);
    return Send(connection, last_frame);
  };
  bool stopping = false;
  while (!session.over()) {
    pollfd fds[] = {{stop_fd_, POLLIN, 0},
                    {connection, POLLIN, 0},
                    {debugger_.stop_fd(), POLLIN, 0},
                    {listener_, POLLIN, 0}};
    if (poll(fds, 4, -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (Readable(fds[0])) {
      stopping = true;
      break;
    }
    if (Readable(fds[3])) {
      const int second = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (second >= 0) {
        close(second);
        Say("another one was turned away: one is attached");
      }
    }
    if (Readable(fds[2]) && !answer(session.OnStopNotice())) break;
    if (!Readable(fds[1])) continue;
    char bytes[4096];
    const ssize_t got = recv(connection, bytes, sizeof bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) break;
    reader.Add(std::string_view(bytes, got));
    bool gone = false;
    while (std::optional<PacketReader::Event> event = reader.Next()) {
      const bool acknowledge = !session.no_acknowledgements();
      switch (event->kind) {
        case PacketReader::Event::kPacket:
          gone = (acknowledge && !Send(connection, "+")) || !answer(session.OnPacket(event->payload));
          break;
        case PacketReader::Event::kBad:
          gone = acknowledge && !Send(connection, "-");
          break;
        case PacketReader::Event::kResend:
          gone = acknowledge && !Send(connection, last_frame);
          break;
        case PacketReader::Event::kInterrupt:
          gone = !answer(session.OnInterrupt());
          break;
        case PacketReader::Event::kAck:
          break;
      }
      if (gone || session.over()) break;
    }
    if (gone) break;
  }
  if (stopping) {
    // Not End: the machine does not go on.
    answer(session.OnMachineEnd());
    return;
  }
  if (!session.over()) {
    session.End();
    Say("gone without a word: its breakpoints and watches are removed, the guest runs on");
  } else {
    Say("detached: the guest runs on");
  }
}

}  // namespace watchsnap::gdb
