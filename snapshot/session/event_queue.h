// EventQueue: tasks for the one thread that coordinates a session. Everything slow (registrations,
// answers to the guest) is posted here and run in order by whoever calls RunOne.
// Threads: Post from any; RunOne from one.
#ifndef WATCHSNAP_SNAPSHOT_SESSION_EVENT_QUEUE_H_
#define WATCHSNAP_SNAPSHOT_SESSION_EVENT_QUEUE_H_

#include <deque>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace watchsnap {

class EventQueue {
 public:
  void Post(std::function<void()> task) {
    absl::MutexLock lock(&mutex_);
    tasks_.push_back(std::move(task));
  }

  // Waits for a task until `deadline` and runs it; false if none came.
  bool RunOne(absl::Time deadline) {
    std::function<void()> task;
    {
      absl::MutexLock lock(&mutex_);
      auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !tasks_.empty(); };
      if (!mutex_.AwaitWithDeadline(absl::Condition(&ready), deadline)) return false;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
    return true;
  }

 private:
  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SESSION_EVENT_QUEUE_H_
