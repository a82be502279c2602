#include "snapshot/vm_session.h"

#include "snapshot/session/session.h"

namespace watchsnap {

absl::StatusOr<VmResult> RunVmSession(VmSessionConfig config) {
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Create(std::move(config));
  if (!session.ok()) return session.status();
  return (*session)->Run();
}

}  // namespace watchsnap
