#include "vmm/event_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"

namespace watchsnap {

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create(const char* name) {
  auto loop = std::unique_ptr<EventLoop>(new EventLoop);
  loop->epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (loop->epoll_fd_ < 0) return absl::ErrnoToStatus(errno, "event loop: epoll_create1");
  loop->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (loop->wake_fd_ < 0) return absl::ErrnoToStatus(errno, "event loop: eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.fd = loop->wake_fd_}};
  if (epoll_ctl(loop->epoll_fd_, EPOLL_CTL_ADD, loop->wake_fd_, &event) != 0) {
    return absl::ErrnoToStatus(errno, "event loop: epoll_ctl");
  }
  EventLoop* raw = loop.get();
  loop->thread_ = std::thread([raw] { raw->Run(); });
  loop->thread_id_ = loop->thread_.get_id();
  pthread_setname_np(loop->thread_.native_handle(), name);
  return loop;
}

EventLoop::~EventLoop() {
  Stop();
  if (epoll_fd_ >= 0) close(epoll_fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

void EventLoop::Stop() {
  if (!thread_.joinable()) return;
  CHECK(!InLoopThread()) << "EventLoop::Stop was called from one of its callbacks";
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  eventfd_write(wake_fd_, 1);
  thread_.join();
}

absl::Status EventLoop::Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback) {
  absl::MutexLock lock(&mutex_);
  if (entries_.contains(fd)) {
    return absl::AlreadyExistsError(absl::StrCat("event loop: fd ", fd, " is watched already"));
  }
  epoll_event event{.events = events, .data = {.fd = fd}};
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("event loop: cannot watch fd ", fd));
  }
  entries_[fd] = std::make_shared<Entry>(Entry{std::move(callback)});
  return absl::OkStatus();
}

absl::Status EventLoop::WatchEventFd(int fd, std::function<void()> callback) {
  return Watch(fd, EPOLLIN, [fd, callback = std::move(callback)](uint32_t) {
    eventfd_t count = 0;
    eventfd_read(fd, &count);
    callback();
  });
}

void EventLoop::Unwatch(int fd) {
  absl::MutexLock lock(&mutex_);
  if (entries_.erase(fd) == 0) return;
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  if (InLoopThread()) return;
  auto idle = [this, fd]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return running_fd_ != fd; };
  mutex_.Await(absl::Condition(&idle));
}

void EventLoop::Post(std::function<void()> task) {
  {
    absl::MutexLock lock(&mutex_);
    posted_.push_back(std::move(task));
  }
  eventfd_write(wake_fd_, 1);
}

void EventLoop::Drain() {
  CHECK(!InLoopThread()) << "EventLoop::Drain was called from one of its callbacks";
  if (!thread_.joinable()) return;
  // A posted task may run before descriptors that were ready with it: the second round is after them.
  for (int round = 0; round < 2; ++round) {
    absl::Notification served;
    Post([&served] { served.Notify(); });
    served.WaitForNotification();
  }
}

void EventLoop::RunPosted() {
  std::vector<std::function<void()>> tasks;
  {
    absl::MutexLock lock(&mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

void EventLoop::Run() {
  epoll_event events[16];
  for (;;) {
    const int count = epoll_wait(epoll_fd_, events, 16, -1);
    if (count < 0 && errno != EINTR) {
      PLOG(FATAL) << "event loop: epoll_wait";
    }
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == wake_fd_) {
        eventfd_t ignored = 0;
        eventfd_read(wake_fd_, &ignored);
        RunPosted();
        continue;
      }
      std::shared_ptr<Entry> entry;
      {
        absl::MutexLock lock(&mutex_);
        auto it = entries_.find(fd);
        if (it == entries_.end()) continue;
        entry = it->second;
        running_fd_ = fd;
      }
      entry->callback(events[i].events);
      absl::MutexLock lock(&mutex_);
      running_fd_ = -1;
    }
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
  }
}

}  // namespace watchsnap
