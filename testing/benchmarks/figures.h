// What a benchmark measured: samples with their median and 99th percentile, and the table of figures that
// are ratios of medians of one run.
//
// Threads: one at a time. Units: samples are microseconds unless a figure says otherwise.
#ifndef WATCHSNAP_TESTING_BENCHMARKS_FIGURES_H_
#define WATCHSNAP_TESTING_BENCHMARKS_FIGURES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace watchsnap {

class Samples {
 public:
  void Add(double value) { values_.push_back(value); }
  size_t size() const { return values_.size(); }
  double Median() const { return Quantile(0.5); }
  double P99() const { return Quantile(0.99); }

 private:
  double Quantile(double q) const;
  std::vector<double> values_;
};

struct Figure {
  std::string name;     // "pause per captured hit, 1 vCPU"
  std::string against;  // what it is compared with
  std::string to_reach;  // "≤ 1.5", "stated"
  // The largest (or least) ratio that reaches it; absent: nothing is to be reached.
  std::optional<double> at_most;
  std::optional<double> at_least;
  // Absent: not measured, and `note` says why.
  std::optional<double> ratio;
  std::string measured;  // the two sides in words: "61.3 µs (p99 120) / 41.0 µs (p99 80)"
  std::string note;

  bool reached() const {
    return ratio.has_value() && (!at_most.has_value() || *ratio <= *at_most) &&
           (!at_least.has_value() || *ratio >= *at_least);
  }
};

// "61.3 µs, p99 120.2" of `samples`; milliseconds or seconds where those read better.
std::string InWords(const Samples& samples);
// The ratio of the medians of `ours` and `theirs`, both in words.
Figure Compare(std::string name, std::string against, std::optional<double> at_most,
               const Samples& ours, const Samples& theirs);
Figure NotMeasured(std::string name, std::string against, std::string why);

// Adds each as a line of a Markdown table to `dir`/rows.md and as a JSON object, on one line, to `dir`/rows.jsonl.
absl::Status AppendFigures(const std::vector<Figure>& figures, const std::string& dir);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_BENCHMARKS_FIGURES_H_
