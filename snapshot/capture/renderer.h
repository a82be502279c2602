// Renderer: turns evidence into reports, on a thread of its own, after the guest runs again.
//
// For every hit of a capture one Report: the trigger with its writer (found by decoding forward in the
// guest's text) and its source line, all vCPUs' registers with the function each was in and its stack, what
// the evidence parts make of their bytes, and the cost. A capture that no watch triggered gives one Report.
//
// Reports are handed over in batches: those of the captures that were waiting when the renderer came to look. None waits
// for a batch to fill.
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
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "debug/decode/writer_decoder.h"
#include "snapshot/capture/evidence.h"
#include "snapshot/capture/freeze_coordinator.h"
#include "snapshot/capture/guest_clock.h"
#include "snapshot/capture/guest_view.h"
#include "snapshot/report/report.h"

namespace watchsnap {

// A report on its way out.
struct RenderedReport {
  int watch = -1;  // index in the coordinator's table; -1: no watch triggered it
  Report report;
  absl::Status kept;  // set by the output: an error counts the hit as lost
};

class Renderer {
 public:
  // May move the reports out; says what became of each in `kept`.
  using Output = std::function<void(absl::Span<RenderedReport>)>;

  Renderer(FreezeCoordinator* coordinator, EvidencePool* pool, Output output);
  ~Renderer();

  // `guest` outlives the renderer.
  void SetGuest(const GuestView* guest, const GuestClock& clock);
  // Renders what is queued and ends the thread. After the vCPUs have stopped. Idempotent.
  void Stop();

 private:
  void Run();
  void HandOver();
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
  std::vector<RenderedReport> batch_;
  std::unordered_map<uint64_t, CodeLocation> writers_;  // by next_pc and watch
  std::thread thread_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_RENDERER_H_
