#include "testing/benchmarks/figures.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

void PrintTable(const std::vector<Figure>& figures) {
  std::printf("\n| figure | against | to reach | ratio | reached | medians, with p99 |\n"
              "| --- | --- | --- | --- | --- | --- |\n");
  for (const Figure& figure : figures) {
    const bool goal = figure.at_most.has_value() || figure.at_least.has_value();
    std::printf("| %s | %s | %s | %s | %s | %s%s%s |\n", figure.name.c_str(), figure.against.c_str(),
                figure.to_reach.c_str(),
                figure.ratio.has_value()     ? absl::StrFormat("%.2f", *figure.ratio).c_str()
                : figure.measured.empty() ? "not measured"
                                          : "–",
                !figure.ratio.has_value() || !goal ? "" : figure.reached() ? "yes" : "no",
                figure.measured.c_str(), figure.note.empty() || figure.measured.empty() ? "" : "; ",
                figure.note.c_str());
  }
  std::fflush(stdout);
}

absl::Status WriteJson(const std::vector<Figure>& figures, const std::string& path) {
  std::string text = "{\"schema\":\"watchsnap.benchmark/1\",\"figures\":[";
  for (const Figure& figure : figures) {
    if (&figure != &figures.front()) text += ',';
    JsonObject object(text);
    object.String("figure", figure.name).String("against", figure.against);
    object.String("to_reach", figure.to_reach);
    if (figure.ratio.has_value()) absl::StrAppend(&object.Key("ratio"), *figure.ratio);
    if (figure.at_most.has_value() || figure.at_least.has_value()) {
      object.Key("reached") += figure.reached() ? "true" : "false";
    }
    object.String("measured", figure.measured).String("note", figure.note);
    object.Close();
  }
  text += "]}\n";
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat("cannot write '", path, "'"));
  return absl::OkStatus();
}

}  // namespace watchsnap
