// Frames that were valid and are no longer: what a mad guest writes to the control port. The same
// for the same seed.
//
// Threads: one at a time.
#ifndef WATCHSNAP_TESTING_SCENARIOS_MUTATED_FRAMES_H_
#define WATCHSNAP_TESTING_SCENARIOS_MUTATED_FRAMES_H_

#include <cstdint>
#include <random>
#include <string>

#include "snapshot/wire/frame_decoder.h"

namespace watchsnap {

class FrameMutator {
 public:
  explicit FrameMutator(uint32_t seed) : random_(seed) {}

  // The next frame: some bytes changed, cut off or put in; every other one with its checks
  // repaired, so that it gets past them. Never one that is still a valid message which would change
  // the run (a greeting, a result, a capture).
  std::string Next();

 private:
  std::string Mutate(std::string frame);
  size_t Below(size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random_);
  }

  std::mt19937 random_;
  uint32_t count_ = 0;
};

// What a host should make of a stream: a decoder of our own that reads along.
class StreamOracle : private FrameSink {
 public:
  void Feed(const std::string& bytes);

  // Negative answers the stream deserves: one for each bad frame, message that cannot be
  // understood, and refused watch.
  uint64_t expected_refusals() const { return expected_refusals_; }
  uint64_t resyncs() const { return decoder_.counters().resyncs; }

 private:
  void OnFrame(const Frame& frame) override;
  void OnBadFrame(const BadFrame& bad) override;

  FrameDecoder decoder_;
  uint64_t expected_refusals_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIOS_MUTATED_FRAMES_H_
