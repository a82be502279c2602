#include "vmm/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;

TEST(EventLoopTest, PostedTasksRunInOrderOnTheLoopsThread) {
  auto loop = EventLoop::Create("test");
  ASSERT_THAT(loop.status(), IsOk());
  std::vector<int> order;
  absl::Notification done;
  for (int i = 0; i < 100; ++i) {
    (*loop)->Post([&, i] {
      EXPECT_TRUE((*loop)->InLoopThread());
      order.push_back(i);
    });
  }
  (*loop)->Post([&] { done.Notify(); });
  done.WaitForNotification();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(EventLoopTest, AnEventFdIsResetBeforeItsCallback) {
  auto loop = EventLoop::Create("test");
  ASSERT_THAT(loop.status(), IsOk());
  const int fd = eventfd(0, EFD_NONBLOCK);
  std::atomic<int> calls{0};
  ASSERT_THAT((*loop)->WatchEventFd(fd, [&] { ++calls; }), IsOk());
  EXPECT_THAT((*loop)->Watch(fd, EPOLLIN, [](uint32_t) {}),
              StatusIs(absl::StatusCode::kAlreadyExists));
  for (int i = 1; i <= 10; ++i) {
    eventfd_write(fd, 1);
    while (calls < i) std::this_thread::yield();
  }
  (*loop)->Unwatch(fd);
  eventfd_write(fd, 1);
  absl::Notification done;
  (*loop)->Post([&] { done.Notify(); });
  done.WaitForNotification();
  EXPECT_EQ(calls, 10);
  close(fd);
}

TEST(EventLoopTest, DrainServesWhatWasReadyBefore) {
  auto loop = EventLoop::Create("test");
  ASSERT_THAT(loop.status(), IsOk());
  std::vector<int> fds;
  std::atomic<int> served{0};
  for (int i = 0; i < 40; ++i) {  // more than one epoll batch
    fds.push_back(eventfd(0, EFD_NONBLOCK));
    ASSERT_THAT((*loop)->WatchEventFd(fds.back(), [&] { ++served; }), IsOk());
  }
  for (int fd : fds) eventfd_write(fd, 1);
  (*loop)->Drain();
  EXPECT_EQ(served, 40);
  (*loop)->Stop();
  for (int fd : fds) close(fd);
}

TEST(EventLoopTest, UnwatchWaitsForACallbackUnderWay) {
  auto loop = EventLoop::Create("test");
  ASSERT_THAT(loop.status(), IsOk());
  const int fd = eventfd(1, EFD_NONBLOCK);
  absl::Notification entered;
  std::atomic<bool> finished{false};
  ASSERT_THAT((*loop)->WatchEventFd(fd,
                                    [&] {
                                      entered.Notify();
                                      for (int i = 0; i < 1000; ++i) std::this_thread::yield();
                                      finished = true;
                                    }),
              IsOk());
  entered.WaitForNotification();
  (*loop)->Unwatch(fd);
  EXPECT_TRUE(finished);
  close(fd);
}

}  // namespace
}  // namespace watchsnap
