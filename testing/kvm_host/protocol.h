// What launcher and agent say to each other, over one virtio-serial port: one stream keeps what the
// command wrote in order with its end.
//
// Host to agent, once: the job, as NUL-terminated strings whose first byte says what they are
// (JobField), ended by an empty string. Afterwards each byte is the number of a signal for the
// command. Agent to host: frames, each a FrameType, the length of the payload in 4 bytes,
// little-endian, and the payload.
#ifndef WATCHSNAP_TESTING_KVM_HOST_PROTOCOL_H_
#define WATCHSNAP_TESTING_KVM_HOST_PROTOCOL_H_

namespace watchsnap::kvm_host {

inline constexpr char kPortName[] = "watchsnap.kvm_host";

// 9p mount tags: the whole file tree, read-only; the writable folders are kWritableTag0, …1, in the
// job's order.
inline constexpr char kRootTag[] = "root";
inline constexpr char kWritableTag[] = "writable";

enum JobField : char {
  kArgument = 'a',     // of the command, in order, the program first
  kEnvironment = 'e',  // NAME=VALUE
  kWorkingDir = 'c',
  kWritableDir = 'w',  // absolute path, in order
};

enum FrameType : char {
  kReady = 'r',    // the agent runs and waits for a job
  kStarted = 's',  // the command was started
  kStdout = '1',   // + what the command wrote
  kStderr = '2',
  kError = 'e',  // + text: the command could not be started
  kExit = 'x',   // + decimal exit code, 128 + signal for a killed command
};

inline constexpr int kFrameHeaderSize = 5;

}  // namespace watchsnap::kvm_host

#endif  // WATCHSNAP_TESTING_KVM_HOST_PROTOCOL_H_
