// A series: one value, read from capture after capture, by the accessor; and matchers over it.
//
//   POST_VM(Fifo) {
//     const Series enqueued = SeriesOf(result, TriggerKind::kPeriodic, "maps[\"fifo.bss\"].value.nr_enqueued");
//     EXPECT_THAT(enqueued, NonDecreasing());
//     EXPECT_THAT(enqueued, RateWithin(100, 100'000));         // per second of guest time
//   }
//
// A sample whose value the capture could not take (IsDegraded: cut, not copied, freed meanwhile) is
// skipped and counted, never read as zero. Any other error (a wrong path, a text) is the series' own:
// no matcher passes then, nor with fewer samples than it needs to be able to fail.
//
// Threads: values; any thread. Units: seconds of the guest's monotonic clock. Values are held as long
// double: every 64-bit integer exactly.
#ifndef WATCHSNAP_TESTING_SCENARIO_SERIES_H_
#define WATCHSNAP_TESTING_SCENARIO_SERIES_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "snapshot/accessor/snapshot.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/vm_session.h"

namespace watchsnap {

struct Sample {
  std::string capture;  // "phase#3"
  long double seconds = 0;
  long double value = 0;
};

class Series {
 public:
  using Read = std::function<SnapshotValue(const Snapshot&)>;

  // `name` is for messages: the path.
  Series(std::string name, const std::vector<CaptureEntry>& captures, const Read& read);
  Series(std::string_view path, const std::vector<CaptureEntry>& captures);

  const std::vector<Sample>& samples() const { return samples_; }
  // How many captures were degraded there, and why.
  size_t skipped() const { return skipped_.size(); }
  const std::vector<std::string>& why_skipped() const { return skipped_; }
  // The first error that is not about degraded evidence.
  const absl::Status& status() const { return status_; }
  const std::string& name() const { return name_; }

  // "x: 12 samples, 1 skipped".
  std::string Summary() const;

 private:
  std::string name_;
  std::vector<Sample> samples_;
  std::vector<std::string> skipped_;
  absl::Status status_;
};

std::ostream& operator<<(std::ostream& out, const Series& series);

// Captures of a run, which keeps them, in order.
std::vector<CaptureEntry> CapturesOf(const VmResult& result, TriggerKind kind);
std::vector<CaptureEntry> CapturesOf(const VmResult& result, std::string_view tag);

Series SeriesOf(const VmResult& result, TriggerKind kind, std::string_view path);
Series SeriesOf(const VmResult& result, std::string_view tag, std::string_view path);

// What is wrong with the samples, line by line; empty: nothing. Only called with enough samples.
using SeriesFaults = std::function<std::vector<std::string>(const std::vector<Sample>&)>;

// The matchers' common part: that the series can be judged at all, and what is said of it.
class SeriesMatcher : public ::testing::MatcherInterface<const Series&> {
 public:
  SeriesMatcher(std::string what, size_t least_samples, SeriesFaults faults)
      : what_(std::move(what)), least_samples_(least_samples), faults_(std::move(faults)) {}

  bool MatchAndExplain(const Series& series,
                       ::testing::MatchResultListener* listener) const override;
  void DescribeTo(std::ostream* out) const override { *out << what_; }
  void DescribeNegationTo(std::ostream* out) const override { *out << "not: " << what_; }

 private:
  const std::string what_;
  const size_t least_samples_;
  const SeriesFaults faults_;
};

// No sample is less than the one before. At least two samples.
::testing::Matcher<const Series&> NonDecreasing();
// Between each sample and the next, the value changes by `low` to `high` per second of guest time.
// Samples of one instant make no rate; at least one rate is needed.
::testing::Matcher<const Series&> RateWithin(double low, double high);
// The last third of the samples, and at least the last two, lie within `tolerance` of `value`.
::testing::Matcher<const Series&> ConvergesTo(double value, double tolerance);
// `holds` of every sample's value. At least one sample.
::testing::Matcher<const Series&> AlwaysTrue(std::function<bool(double)> holds);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_SERIES_H_
