// A BPF object in the kernel, from inside a guest: programs, maps and schedulers of one .bpf.o
// file.
//
//   absl::StatusOr<std::unique_ptr<LoadedBpfObject>> object =
//   LoadedBpfObject::Load("/data/maps.bpf.o");
//   (*object)->Attach();                    // schedulers are enabled, programs attached
//   absl::StatusOr<int> fd = (*object)->MapFd("counters");
//
// Ownership: the destructor detaches everything; the kernel then forgets what nobody else holds.
// Threads: one at a time; libbpf's log is one per process. Errors: what libbpf was doing, the
// kernel's error, and libbpf's last lines, the verifier's among them; Load also says which BTF is
// missing if the kernel has none.
#ifndef WATCHSNAP_TESTING_BPF_LOADED_OBJECT_H_
#define WATCHSNAP_TESTING_BPF_LOADED_OBJECT_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct bpf_link;
struct bpf_object;

namespace watchsnap {

class LoadedBpfObject {
 public:
  static absl::StatusOr<std::unique_ptr<LoadedBpfObject>> Load(const std::string& path);
  ~LoadedBpfObject();
  LoadedBpfObject(const LoadedBpfObject&) = delete;
  LoadedBpfObject& operator=(const LoadedBpfObject&) = delete;

  // Attaches all struct_ops maps (a sched_ext one becomes the scheduler), then all programs that
  // say themselves where they belong. Returns the names of what was attached.
  absl::StatusOr<std::vector<std::string>> Attach();

  // The descriptors are the object's. Names are those of the source; "bss", "data" and "rodata"
  // find the global sections. NOT_FOUND lists what there is.
  absl::StatusOr<int> MapFd(std::string_view name) const;
  absl::StatusOr<int> ProgramFd(std::string_view name) const;

 private:
  explicit LoadedBpfObject(bpf_object* object) : object_(object) {}

  bpf_object* const object_;
  std::vector<bpf_link*> links_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_BPF_LOADED_OBJECT_H_
