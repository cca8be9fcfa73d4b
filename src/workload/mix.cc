// SPDX-License-Identifier: Apache-2.0
#include "workload/mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/yaml_reader.h"

namespace duly::workload {
namespace {

constexpr std::string_view kArrivalsExpected =
    "poisson, constant, onoff, a file that ends in .csv, or a map with 'kind'";

// The mean rate that the key, or the trace at its own speed, asks for.
void ReadRate(const YamlValue& rate, std::optional<double> speed, ApplicationLoad& load) {
  if (load.arrivals.trace_s != nullptr && (speed || !rate.present())) {
    load.spec.rate_per_s = MeanRate(*load.arrivals.trace_s) * speed.value_or(1);
    if (rate.present()) rate.Fail("both a rate and a trace's speed", "one of them");
    return;
  }
  const std::optional<double> value = rate.AsRate();
  if (value && *value <= 0) rate.Fail("the rate is 0", "a rate above 0");
  load.spec.rate_per_s = value.value_or(0);
}

void ReadStates(const YamlValue& value, ArrivalSpec& spec) {
  constexpr double kMaxWeight = 1e6;
  double most = 0;
  for (const YamlValue& item : value.AsList()) {
    YamlMap map = item.AsMap();
    MarkovState& state = spec.states.emplace_back();
    state.weight = map.Required("weight").AsNumber(0, kMaxWeight).value_or(1);
    state.dwell = map.Required("dwell").AsPositiveDuration().value_or(std::chrono::seconds(1));
    most = std::max(most, state.weight);
  }
  if (!value.is_list() || (spec.states.size() >= 2 && most > 0)) return;
  value.Fail(spec.states.size() < 2 ? "fewer than two states" : "no state has arrivals",
             "at least two states, one with a weight above 0");
}

// Fills load.arrivals; returns the speed asked for of a trace.
std::optional<double> ReadArrivals(const YamlValue& value, ApplicationLoad& load, Faults& faults) {
  if (!value.present()) return std::nullopt;
  if (!value.is_map()) {
    if (const std::optional<std::string> word = value.AsText()) {
      ArrivalSpec unread;
      unread.kind = ArrivalSpec::Kind::kTrace;
      load.arrivals = ReadArrivalWord(*word, value.place(), faults).value_or(unread);
    }
    return std::nullopt;
  }
  YamlMap map = value.AsMap();
  using Kind = ArrivalSpec::Kind;
  load.arrivals.kind = map.Required("kind")
                           .AsChoice<Kind>({{"poisson", Kind::kPoisson},
                                            {"constant", Kind::kConstant},
                                            {"onoff", Kind::kOnOff},
                                            {"markov", Kind::kMarkov},
                                            {"diurnal", Kind::kDiurnal},
                                            {"closed", Kind::kClosed},
                                            {"trace", Kind::kTrace}})
                           .value_or(Kind::kPoisson);
  if (load.arrivals.kind == Kind::kOnOff) {
    load.arrivals.on = map["on"].AsPositiveDuration().value_or(load.arrivals.on);
    load.arrivals.off = map["off"].AsPositiveDuration().value_or(load.arrivals.off);
  }
  if (load.arrivals.kind == Kind::kMarkov) ReadStates(map.Required("states"), load.arrivals);
  if (load.arrivals.kind == Kind::kDiurnal) {
    load.arrivals.period = map["period"].AsPositiveDuration().value_or(load.arrivals.period);
    load.arrivals.depth = map.Required("depth").AsNumber(0, 1).value_or(load.arrivals.depth);
    load.arrivals.phase = map["phase"].AsNumber(0, 1).value_or(load.arrivals.phase);
  }
  if (load.arrivals.kind == Kind::kClosed) {
    constexpr std::uint32_t kMaxClients = 1'000'000;
    load.arrivals.clients = map.Required("clients").AsCount(1, kMaxClients).value_or(1);
    load.arrivals.think = map.Required("think").AsPositiveDuration().value_or(load.arrivals.think);
  }
  if (load.arrivals.kind != Kind::kTrace) return std::nullopt;
  if (const std::optional<std::string> file = map.Required("file").AsFile()) {
    load.arrivals.trace_s = ReadTrace(*file, faults);
  }
  return map["speed"].AsPositiveNumber();
}

}  // namespace

ApplicationLoad ReadApplicationLoad(YamlMap& map, Faults& faults) {
  ApplicationLoad load;
  ApplicationSpec& spec = load.spec;
  spec.name = map.Required("name").AsText().value_or("");
  spec.model = map.Required("model").AsText().value_or("");
  spec.slo = map["slo"].AsPositiveDuration();
  spec.timeout = map["timeout"].AsPositiveDuration();
  spec.min_accuracy_pct = map["min_accuracy"].AsNumber(0, 100);

  const std::optional<double> speed = ReadArrivals(map["arrivals"], load, faults);
  // A trace has a rate of its own, and so have clients who wait.
  using Kind = ArrivalSpec::Kind;
  const bool is_closed = load.arrivals.kind == Kind::kClosed;
  const YamlValue rate =
      is_closed || load.arrivals.kind == Kind::kTrace ? map["rate"] : map.Required("rate");
  if (!is_closed) {
    ReadRate(rate, speed, load);
  } else if (rate.present()) {
    rate.Fail("a rate of clients who wait for their answers", "'clients' and 'think' alone");
  } else {
    spec.rate_per_s = load.arrivals.clients / ToSeconds(load.arrivals.think);
  }

  constexpr std::uint32_t kMaxRows = 1 << 20;
  load.rows = map["rows"].AsCount(1, kMaxRows).value_or(1);
  load.inputs_file = map["inputs"].AsFile().value_or("");
  if (const YamlValue cancel = map["cancel"]; cancel.present()) {
    YamlMap cancel_map = cancel.AsMap();
    load.cancel_share = cancel_map.Required("share").AsNumber(0, 1).value_or(0);
    load.cancel_after = cancel_map.Required("after").AsDuration().value_or(Duration(0));
  }
  return load;
}

Mix ReadMix(const std::string& file, Faults& faults) {
  Mix mix;
  Faults inner;  // of the files that the mix names
  LoadYaml(file, faults, [&](YamlMap& root) {
    mix.url = root["url"].AsText();
    mix.duration = root["duration"].AsPositiveDuration();
    mix.warmup = root["warmup"].AsDuration();
    if (const std::optional<std::int64_t> seed =
            root["seed"].AsInteger(0, std::numeric_limits<std::int64_t>::max())) {
      mix.seed = static_cast<std::uint64_t>(*seed);
    }
    mix.load_factor = root["load_factor"].AsPositiveNumber();
    std::set<std::string> names;
    for (const YamlValue& item : root.Required("applications").AsList()) {
      YamlMap map = item.AsMap();
      ApplicationLoad load = ReadApplicationLoad(map, inner);
      if (!load.spec.name.empty() && !names.insert(load.spec.name).second) {
        item.Fail(fmt::format("application '{}' is given again", load.spec.name), "unique names");
      }
      if (load.arrivals.kind == ArrivalSpec::Kind::kClosed) {
        item.Fail("clients who wait for their answers are simulated only",
                  "arrivals that do not depend on the answers");
      }
      mix.applications.push_back(std::move(load));
    }
  });
  faults.Append(std::move(inner));
  if (faults.empty() && mix.applications.empty()) {
    faults.Add({file, 0, 0, "no application", "at least one under 'applications'"});
  }
  return mix;
}

std::optional<ArrivalSpec> ReadArrivalWord(const std::string& word, const Place& place,
                                           Faults& faults) {
  ArrivalSpec spec;
  if (word == "poisson") return spec;
  if (word == "constant") {
    spec.kind = ArrivalSpec::Kind::kConstant;
    return spec;
  }
  if (word == "onoff") {
    spec.kind = ArrivalSpec::Kind::kOnOff;
    return spec;
  }
  if (!word.ends_with(".csv")) {
    faults.Add(place, fmt::format("'{}' is no arrival process", word),
               std::string(kArrivalsExpected));
    return std::nullopt;
  }
  spec.kind = ArrivalSpec::Kind::kTrace;
  spec.trace_s = ReadTrace(RelativeToFile(word, place.file), faults);
  if (spec.trace_s == nullptr) return std::nullopt;
  return spec;
}

}  // namespace duly::workload
