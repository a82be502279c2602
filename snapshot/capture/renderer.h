// Renderer: turns evidence into reports, on a thread of its own, after the guest runs again.
//
// For every hit of a capture one Report: the trigger with its writer (found by decoding forward in the
// guest's text) and its source line, all vCPUs' registers with the function each was in and its stack, what
// the evidence parts make of their bytes, and the cost. A capture that no watch triggered gives one Report.
//
// Threads: Start and Stop by the owner; the output callback on the renderer's thread, in order.
// Ownership: borrows coordinator and pool. The guest view may come later than the first capture
// (SetGuest); reports rendered before that name no functions and say so in `degraded`.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_RENDERER_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_RENDERER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "debug/decode/writer_decoder.h"
#include "snapshot/capture/evidence.h"
#include "snapshot/capture/freeze_coordinator.h"
#include "snapshot/capture/guest_clock.h"
#include "snapshot/capture/guest_view.h"
#include "snapshot/report/report.h"

namespace watchsnap {

class Renderer {
 public:
  // `watch`: index in the coordinator's table, or -1. An error counts the hit as lost.
  using Output = std::function<absl::Status(int watch, Report report)>;

  Renderer(FreezeCoordinator* coordinator, EvidencePool* pool, Output output);
  ~Renderer();

  // `guest` outlives the renderer.
  void SetGuest(const GuestView* guest, const GuestClock& clock);
  // Renders what is queued and ends the thread. After the vCPUs have stopped. Idempotent.
  void Stop();

 private:
  void Run();
  void Render(const CaptureEvidence& evidence);
  Report RenderCommon(const CaptureEvidence& evidence, uint64_t freeze);
  void AddParts(const CaptureEvidence& evidence, Report& report);
  void AddStack(const CaptureEvidence& evidence, size_t index, Report& report);
  void RenderHit(const CaptureEvidence& evidence, const HitEvidence& hit, Report& report);
  CodeLocation FindWriterLocation(const HitEvidence& hit);
  void AddSourceLines(uint64_t address, CodeLocation& location);

  FreezeCoordinator* const coordinator_;
  EvidencePool* const pool_;
  const Output output_;
  absl::Mutex mutex_;
  const GuestView* guest_ ABSL_GUARDED_BY(mutex_) = nullptr;
  GuestClock clock_ ABSL_GUARDED_BY(mutex_);
  // The thread's own:
  const GuestView* view_ = nullptr;
  GuestClock guest_clock_;
  uint64_t freezes_ = 0;
  std::unordered_map<uint64_t, CodeLocation> writers_;  // by next_pc and watch
  std::thread thread_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_RENDERER_H_
