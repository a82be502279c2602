// A program whose output is read line by line, each with the time at which it came.
//
// Threads: one. Ownership: the program is killed and waited for by the destructor.
#ifndef WATCHSNAP_TESTING_BENCHMARKS_CHILD_H_
#define WATCHSNAP_TESTING_BENCHMARKS_CHILD_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace watchsnap {

double MonotonicSeconds();

class Child {
 public:
  // stdout and stderr become one stream.
  static absl::StatusOr<std::unique_ptr<Child>> Start(const std::vector<std::string>& argv);
  ~Child();

  struct Line {
    double at = 0;  // MonotonicSeconds
    std::string text;
  };
  // The next line, or its beginning where it does not end in time; nothing at the end of the output or past
  // `deadline`.
  std::optional<Line> Next(absl::Time deadline);
  // Reads until a line contains `text`.
  std::optional<Line> Await(std::string_view text, absl::Duration timeout);
  pid_t pid() const { return pid_; }
  // All that was read so far.
  const std::string& output() const { return output_; }
  void Kill();

 private:
  Child(pid_t pid, int fd) : pid_(pid), fd_(fd) {}
  pid_t pid_;
  int fd_;
  std::string output_;
  size_t taken_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_BENCHMARKS_CHILD_H_
