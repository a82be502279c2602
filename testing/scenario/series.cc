#include "testing/scenario/series.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

// More say the same thing.
constexpr size_t kMostShown = 5;

std::string Number(long double value) {
  if (std::floor(value) == value && std::abs(value) < 1e18L) {
    return absl::StrCat(static_cast<int64_t>(value));
  }
  return absl::StrFormat("%g", static_cast<double>(value));
}

std::string Shown(const Sample& sample) {
  return absl::StrFormat("%s at %.6f s in %s", Number(sample.value),
                         static_cast<double>(sample.seconds), sample.capture);
}

absl::StatusOr<long double> ReadNumber(const SnapshotValue& value) {
  if (!value.ok()) return value.status();
  if (absl::StatusOr<uint64_t> number = value.AsU64(); number.ok()) return *number;
  if (absl::StatusOr<int64_t> number = value.AsI64(); number.ok()) return *number;
  return value.AsF64();
}

::testing::Matcher<const Series&> Make(std::string what, size_t least, SeriesFaults faults) {
  return ::testing::Matcher<const Series&>(
      new SeriesMatcher(std::move(what), least, std::move(faults)));
}

}  // namespace

Series::Series(std::string name, const std::vector<CaptureEntry>& captures, const Read& read)
    : name_(std::move(name)) {
  for (const CaptureEntry& entry : captures) {
    const std::string capture = absl::StrCat(entry.tag, "#", entry.seq);
    const absl::StatusOr<long double> value = ReadNumber(read(entry.snapshot()));
    if (!value.ok()) {
      if (IsDegraded(value.status())) {
        skipped_.emplace_back(value.status().message());
        continue;
      }
      status_ = value.status();
      return;
    }
    // A capture without a clock has no place in a series.
    if (!entry.report.trigger.guest_time_ns.has_value()) {
      skipped_.push_back(absl::StrCat(capture, " has no guest time"));
      continue;
    }
    samples_.push_back(
        {capture, static_cast<long double>(*entry.report.trigger.guest_time_ns) / 1e9L, *value});
  }
}

Series::Series(std::string_view path, const std::vector<CaptureEntry>& captures)
    : Series(std::string(path), captures,
             [path](const Snapshot& snapshot) { return snapshot.Get(path); }) {}

std::string Series::Summary() const {
  std::string text = absl::StrCat(name_, ": ", samples_.size(), " samples, ", skipped_.size(),
                                  " skipped");
  if (!skipped_.empty()) absl::StrAppend(&text, " (the first: ", skipped_.front(), ")");
  return text;
}

std::ostream& operator<<(std::ostream& out, const Series& series) {
  return out << series.Summary();
}

std::vector<CaptureEntry> CapturesOf(const VmResult& result, TriggerKind kind) {
  std::vector<CaptureEntry> captures = result.snapshot_bridge->All();
  std::erase_if(captures, [&](const CaptureEntry& entry) { return entry.kind != kind; });
  return captures;
}

std::vector<CaptureEntry> CapturesOf(const VmResult& result, std::string_view tag) {
  return result.snapshot_bridge->ByTag(tag);
}

Series SeriesOf(const VmResult& result, TriggerKind kind, std::string_view path) {
  return Series(path, CapturesOf(result, kind));
}

Series SeriesOf(const VmResult& result, std::string_view tag, std::string_view path) {
  return Series(path, CapturesOf(result, tag));
}

bool SeriesMatcher::MatchAndExplain(const Series& series,
                                    ::testing::MatchResultListener* listener) const {
  if (!series.status().ok()) {
    *listener << "which could not be read: " << series.status().message();
    return false;
  }
  if (series.samples().size() < least_samples_) {
    *listener << "which has too few samples to tell (at least " << least_samples_
              << " are needed)";
    for (size_t i = 0; i < series.skipped() && i < kMostShown; ++i) {
      *listener << "\n  skipped: " << series.why_skipped()[i];
    }
    return false;
  }
  const std::vector<std::string> faults = faults_(series.samples());
  if (faults.empty()) return true;
  *listener << "where " << faults.size() << (faults.size() == 1 ? " place is" : " places are")
            << " wrong";
  for (size_t i = 0; i < faults.size() && i < kMostShown; ++i) *listener << "\n  " << faults[i];
  if (faults.size() > kMostShown) *listener << "\n  and " << faults.size() - kMostShown << " more";
  return false;
}

::testing::Matcher<const Series&> NonDecreasing() {
  return Make("never decreases", 2, [](const std::vector<Sample>& samples) {
    std::vector<std::string> faults;
    for (size_t i = 1; i < samples.size(); ++i) {
      if (samples[i].value < samples[i - 1].value) {
        faults.push_back(absl::StrCat(Shown(samples[i]), ", after ", Shown(samples[i - 1])));
      }
    }
    return faults;
  });
}

::testing::Matcher<const Series&> RateWithin(double low, double high) {
  return Make(absl::StrCat("changes by ", low, " to ", high, " per second of guest time"), 2,
              [low, high](const std::vector<Sample>& samples) {
                std::vector<std::string> faults;
                size_t rates = 0;
                for (size_t i = 1; i < samples.size(); ++i) {
                  const long double seconds = samples[i].seconds - samples[i - 1].seconds;
                  if (seconds == 0) continue;
                  ++rates;
                  const long double rate = (samples[i].value - samples[i - 1].value) / seconds;
                  if (seconds > 0 && rate >= low && rate <= high) continue;
                  faults.push_back(absl::StrCat(Number(rate), " per second: ",
                                                Shown(samples[i - 1]), ", then ",
                                                Shown(samples[i])));
                }
                if (rates == 0) faults.push_back("all samples are of one instant: there is no rate");
                return faults;
              });
}

::testing::Matcher<const Series&> ConvergesTo(double value, double tolerance) {
  return Make(absl::StrCat("converges to ", value, " ± ", tolerance), 2,
              [value, tolerance](const std::vector<Sample>& samples) {
                std::vector<std::string> faults;
                const size_t settled = std::max<size_t>(2, (samples.size() + 2) / 3);
                for (size_t i = samples.size() - settled; i < samples.size(); ++i) {
                  if (std::abs(samples[i].value - value) <= tolerance) continue;
                  faults.push_back(absl::StrCat(Shown(samples[i]), ", one of the last ", settled));
                }
                return faults;
              });
}

::testing::Matcher<const Series&> AlwaysTrue(std::function<bool(double)> holds) {
  return Make("always holds", 1, [holds = std::move(holds)](const std::vector<Sample>& samples) {
    std::vector<std::string> faults;
    for (const Sample& sample : samples) {
      if (!holds(static_cast<double>(sample.value))) faults.push_back(Shown(sample));
    }
    return faults;
  });
}

}  // namespace watchsnap
