#include "testing/bpf/loaded_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"

namespace watchsnap {
namespace {

// The verifier's complaint is at the end of what may be thousands of lines.
constexpr size_t kLinesKept = 60;

class LibbpfLog {
 public:
  void Add(std::string text) {
    absl::MutexLock lock(&mutex_);
    lines_.push_back(std::move(text));
    if (lines_.size() > kLinesKept) lines_.pop_front();
  }
  std::string Take() {
    absl::MutexLock lock(&mutex_);
    std::string all = absl::StrJoin(lines_, "");
    lines_.clear();
    return all;
  }

 private:
  absl::Mutex mutex_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

LibbpfLog& TheLog() {
  static LibbpfLog* const log = new LibbpfLog;
  return *log;
}

int KeepLog(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  char* text = nullptr;
  const int length = vasprintf(&text, format, arguments);
  if (length >= 0) {
    TheLog().Add(text);
    free(text);
  }
  return length;
}

absl::Status Failure(int error, std::string_view what) {
  return absl::ErrnoToStatus(error < 0 ? -error : error,
                             absl::StrCat(what, ". libbpf says:\n", TheLog().Take()));
}

bool IsStructOps(const bpf_map* map) { return bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS; }

}  // namespace

absl::StatusOr<std::unique_ptr<LoadedBpfObject>> LoadedBpfObject::Load(const std::string& path) {
  libbpf_set_print(KeepLog);
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) return Failure(errno, absl::StrCat("open the BPF object ", path));
  std::unique_ptr<LoadedBpfObject> loaded(new LoadedBpfObject(object));
  if (const int error = bpf_object__load(object); error != 0) {
    return Failure(error, absl::StrCat("load the BPF object ", path));
  }
  return loaded;
}

LoadedBpfObject::~LoadedBpfObject() {
  for (auto link = links_.rbegin(); link != links_.rend(); ++link) bpf_link__destroy(*link);
  bpf_object__close(object_);
}

absl::StatusOr<std::vector<std::string>> LoadedBpfObject::Attach() {
  std::vector<std::string> attached;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_) {
    if (!IsStructOps(map)) continue;
    bpf_link* link = bpf_map__attach_struct_ops(map);
    if (link == nullptr) return Failure(errno, absl::StrCat("attach ", bpf_map__name(map)));
    links_.push_back(link);
    attached.push_back(bpf_map__name(map));
  }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) {
    if (bpf_program__type(program) == BPF_PROG_TYPE_STRUCT_OPS ||
        !bpf_program__autoattach(program)) {
      continue;
    }
    bpf_link* link = bpf_program__attach(program);
    // A program that is only called by others, or run by BPF_PROG_TEST_RUN.
    if (link == nullptr && errno == EOPNOTSUPP) continue;
    if (link == nullptr) return Failure(errno, absl::StrCat("attach ", bpf_program__name(program)));
    links_.push_back(link);
    attached.push_back(bpf_program__name(program));
  }
  TheLog().Take();
  return attached;
}

absl::StatusOr<int> LoadedBpfObject::MapFd(std::string_view name) const {
  std::vector<std::string> names;
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_) {
    const std::string_view found = bpf_map__name(map);
    if (found == name ||
        (bpf_map__is_internal(map) && absl::EndsWith(found, absl::StrCat(".", name)))) {
      return bpf_map__fd(map);
    }
    names.emplace_back(found);
  }
  return absl::NotFoundError(
      absl::StrCat("no map '", name, "' in the BPF object; it has: ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<int> LoadedBpfObject::ProgramFd(std::string_view name) const {
  std::vector<std::string> names;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) {
    if (bpf_program__name(program) == name) return bpf_program__fd(program);
    names.emplace_back(bpf_program__name(program));
  }
  return absl::NotFoundError(absl::StrCat(
      "no program '", name, "' in the BPF object; it has: ", absl::StrJoin(names, ", ")));
}

}  // namespace watchsnap
