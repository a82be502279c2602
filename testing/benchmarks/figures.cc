#include "testing/benchmarks/figures.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {

double Samples::Quantile(double q) const {
  if (values_.empty()) return std::nan("");
  std::vector<double> sorted = values_;
  const size_t at = std::min(sorted.size() - 1, static_cast<size_t>(q * sorted.size()));
  std::nth_element(sorted.begin(), sorted.begin() + at, sorted.end());
  return sorted[at];
}

std::string InWords(const Samples& samples) {
  const double median = samples.Median();
  if (median >= 1e6) return absl::StrFormat("%.2f s, p99 %.2f", median / 1e6, samples.P99() / 1e6);
  if (median >= 1e4) return absl::StrFormat("%.1f ms, p99 %.1f", median / 1e3, samples.P99() / 1e3);
  return absl::StrFormat("%.1f µs, p99 %.1f", median, samples.P99());
}

Figure Compare(std::string name, std::string against, std::optional<double> at_most,
               const Samples& ours, const Samples& theirs) {
  Figure figure;
  figure.name = std::move(name);
  figure.against = std::move(against);
  figure.at_most = at_most;
  figure.to_reach = at_most.has_value() ? absl::StrFormat("≤ %.1f", *at_most) : "stated";
  if (ours.size() == 0 || theirs.size() == 0) {
    figure.note = "no samples";
    return figure;
  }
  figure.ratio = ours.Median() / theirs.Median();
  figure.measured = absl::StrCat(InWords(ours), " / ", InWords(theirs));
  return figure;
}

Figure NotMeasured(std::string name, std::string against, std::string why) {
  Figure figure;
  figure.name = std::move(name);
  figure.against = std::move(against);
  figure.note = std::move(why);
  return figure;
}

absl::Status AppendFigures(const std::vector<Figure>& figures, const std::string& dir) {
  std::string rows, objects;
  for (const Figure& figure : figures) {
    const bool goal = figure.at_most.has_value() || figure.at_least.has_value();
    absl::StrAppendFormat(
        &rows, "| %s | %s | %s | %s | %s | %s%s%s |\n", figure.name, figure.against, figure.to_reach,
        figure.ratio.has_value()  ? absl::StrFormat("%.2f", *figure.ratio)
        : figure.measured.empty() ? "not measured"
                                  : "–",
        !figure.ratio.has_value() || !goal ? "" : figure.reached() ? "yes" : "no", figure.measured,
        figure.note.empty() || figure.measured.empty() ? "" : "; ",
        absl::StrReplaceAll(figure.note, {{"\n", " "}, {"|", "/"}}));
    JsonObject object(objects);
    object.String("figure", figure.name).String("against", figure.against);
    object.String("to_reach", figure.to_reach);
    if (figure.ratio.has_value()) absl::StrAppend(&object.Key("ratio"), *figure.ratio);
    if (goal) object.Key("reached") += figure.reached() ? "true" : "false";
    object.String("measured", figure.measured).String("note", figure.note);
    object.Close();
    objects += '\n';
  }
  for (const auto& [name, text] : {std::pair("rows.md", &rows), std::pair("rows.jsonl", &objects)}) {
    const std::string path = absl::StrCat(dir, "/", name);
    std::ofstream file(path, std::ios::app);
    file << *text;
    file.close();
    if (!file) return absl::UnavailableError(absl::StrCat("cannot write '", path, "'"));
  }
  return absl::OkStatus();
}

}  // namespace watchsnap
