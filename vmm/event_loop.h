// EventLoop: one thread that waits on file descriptors and runs callbacks; the devices' thread.
//
// Threads: Watch, Unwatch and Post from any thread, callbacks on the loop's own thread only.
// After Unwatch returns (from another thread) the callback is not running and will not run again;
// from inside a callback it takes effect when that callback returns.
// Ownership: file descriptors stay the caller's and must outlive their watch.
#ifndef WATCHSNAP_VMM_EVENT_LOOP_H_
#define WATCHSNAP_VMM_EVENT_LOOP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace watchsnap {

class EventLoop {
 public:
  // `name` (at most 15 bytes) is the thread's name.
  static absl::StatusOr<std::unique_ptr<EventLoop>> Create(const char* name);
  ~EventLoop();  // Stops the loop; callbacks that wait their turn are dropped.
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Calls `callback(events)` whenever `fd` has any of `events` (EPOLLIN, EPOLLOUT; level-triggered).
  absl::Status Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback);
  // Watches an eventfd: it is read (reset to 0) before each call.
  absl::Status WatchEventFd(int fd, std::function<void()> callback);
  void Unwatch(int fd);
  // Runs `task` on the loop's thread, in order of posting.
  void Post(std::function<void()> task);
  // Waits until what was ready or posted before this call has been served. Not from a callback.
  void Drain();
  // Ends the thread and waits for it. Idempotent; not from a callback.
  void Stop();
  bool InLoopThread() const { return std::this_thread::get_id() == thread_id_; }

 private:
  EventLoop() = default;
  void Run();
  void RunPosted();

  struct Entry {
    std::function<void(uint32_t)> callback;
  };
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  std::thread thread_;
  std::thread::id thread_id_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  int running_fd_ ABSL_GUARDED_BY(mutex_) = -1;
  std::map<int, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_EVENT_LOOP_H_
