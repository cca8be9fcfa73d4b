// SPDX-License-Identifier: Apache-2.0
#include "cli/predict.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/cli.h"
#include "cli/json_output.h"
#include "cli/predict_mix.h"
#include "cli/table.h"

namespace duly {
namespace {

struct PredictFlags {
  std::string file;
  std::vector<double> percentiles{0.5, 0.95, 0.99};
  std::string json_file;
};

// "p95", "p99.9".
std::string NameOf(double percentile) { return fmt::format("p{:.6g}", percentile * 100); }

nlohmann::ordered_json ToJson(const PredictMix& mix, const queueing::Prediction& prediction,
                              const PredictFlags& flags) {
  nlohmann::ordered_json json;
  json["stable"] = prediction.stable;
  json["utilization"] = prediction.utilization;
  json["classes"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < mix.classes.size(); ++i) {
    nlohmann::ordered_json one;
    one["name"] = mix.classes[i].name;
    if (prediction.stable) {
      one["mean_ms"] = prediction.classes[i].mean_s * kMillis;
      for (std::size_t q = 0; q < flags.percentiles.size(); ++q) {
        one[NameOf(flags.percentiles[q]) + "_ms"] = prediction.classes[i].quantiles_s[q] * kMillis;
      }
    }
    json["classes"].push_back(std::move(one));
  }
  return json;
}

std::string ToTable(const PredictMix& mix, const queueing::Prediction& prediction,
                    const PredictFlags& flags) {
  TableColumn name{"class", TableColumn::Align::kLeft, {}};
  TableColumn rate{"rate/s", TableColumn::Align::kRight, {}};
  TableColumn service{"service ms", TableColumn::Align::kRight, {}};
  TableColumn mean{"mean ms", TableColumn::Align::kRight, {}};
  std::vector<TableColumn> percentiles;
  for (const double q : flags.percentiles) {
    percentiles.push_back({NameOf(q) + " ms", TableColumn::Align::kRight, {}});
  }
  const auto millis = [](double seconds) { return fmt::format("{:.2f}", seconds * kMillis); };
  for (std::size_t i = 0; i < mix.classes.size(); ++i) {
    const PredictMix::Class& one = mix.classes[i];
    name.cells.push_back(one.name);
    rate.cells.push_back(fmt::format("{:.4g}", one.load.rate_per_s));
    service.cells.push_back(millis(one.load.service.mean_s));
    mean.cells.push_back(prediction.stable ? millis(prediction.classes[i].mean_s) : "-");
    for (std::size_t q = 0; q < percentiles.size(); ++q) {
      percentiles[q].cells.push_back(
          prediction.stable ? millis(prediction.classes[i].quantiles_s[q]) : "-");
    }
  }
  std::vector<TableColumn> columns{name, rate, service, mean};
  columns.insert(columns.end(), percentiles.begin(), percentiles.end());
  return FormatTable(columns) +
         fmt::format("utilization {:.3f}{}\n", prediction.utilization,
                     prediction.stable ? "" : ": unstable, the queue grows without bound");
}

int RunPredict(const PredictFlags& flags, std::ostream& out, std::ostream& err) {
  Faults faults;
  for (const double q : flags.percentiles) {
    if (!(q > 0 && q <= 0.9999)) {
      faults.Add({"--percentiles", 0, 0, fmt::format("{} is no percentile", q),
                  "fractions above 0, at most 0.9999, such as 0.5,0.95,0.99"});
    }
  }
  const PredictMix mix = ReadPredictMix(flags.file, faults);
  if (!faults.empty()) {
    err << faults.ToString() << '\n';
    return kExitUsage;
  }
  std::vector<queueing::ServedClass> classes;
  for (const PredictMix::Class& one : mix.classes) classes.push_back(one.load);
  const Result<queueing::Prediction> prediction =
      queueing::Predict(mix.device, classes, flags.percentiles);
  if (!prediction) {
    fmt::print(err, "{}: {}\n", flags.file, prediction.error().message());
    return kExitFailed;
  }
  if (flags.json_file != "-") out << ToTable(mix, *prediction, flags);
  if (!flags.json_file.empty()) {
    const Status written = WriteJson(flags.json_file, ToJson(mix, *prediction, flags), out);
    if (!written.ok()) {
      err << written.message() << '\n';
      return kExitUsage;
    }
  }
  return kExitDone;
}

}  // namespace

std::function<int()> AddPredictCommand(CLI::App& parser) {
  auto flags = std::make_shared<PredictFlags>();
  parser.add_option("file", flags->file, "A device and the classes that share it (YAML)")
      ->type_name("FILE")
      ->required();
  parser
      .add_option("--percentiles", flags->percentiles,
                  "Fractions, separated by commas (0.5,0.95,0.99)")
      ->type_name("LIST")
      ->delimiter(',');
  parser.add_option("--json", flags->json_file, "Write the prediction (- = stdout)")
      ->type_name("FILE");
  parser.footer(
      "device: {kind: serial|edgetpu|timeslice|concurrent|cpu}; classes: [{name, rate,\n"
      "service, ...}]; docs/queueing.md has all keys and how far to trust each kind.\n"
      "Example:\n  duly predict docs/examples/edgetpu.yaml --percentiles 0.5,0.99");
  return [flags] { return RunPredict(*flags, std::cout, std::cerr); };
}

}  // namespace duly
