// SPDX-License-Identifier: Apache-2.0
#include "sim/run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "policy/registry.h"

namespace duly::sim {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<ScenarioRun> Started(const std::string& text) {
  Faults faults;
  const Scenario scenario = ParseScenario(text, "s.yaml", faults);
  EXPECT_TRUE(faults.empty()) << faults.ToStatus().message();
  auto run = ScenarioRun::Create(scenario, MakeDispatchPolicy, faults);
  EXPECT_TRUE(faults.empty()) << faults.ToStatus().message();
  return run;
}

std::unique_ptr<ScenarioRun> Done(const std::string& text) {
  auto run = Started(text);
  EXPECT_FALSE(run->Advance(Duration::max()));
  return run;
}

std::uint64_t CountOf(const SourceTally& tally, Outcome outcome) {
  return tally.outcomes[static_cast<std::size_t>(outcome)];
}

// Mean response time of a one-model station in ms, by batch means over seeds: mean and half of the
// 99 % interval (Student, 9 degrees of freedom).
struct Interval99 {
  double mean;
  double half;
};
// Of ten runs.
Interval99 Interval99Of(const std::vector<double>& means) {
  const auto runs = static_cast<double>(means.size());
  double sum = 0;
  double squares = 0;
  for (const double mean : means) {
    sum += mean;
    squares += mean * mean;
  }
  const double mean = sum / runs;
  const double variance = (squares - sum * mean) / (runs - 1);
  return {mean, 3.25 * std::sqrt(variance / runs)};
}

struct Station {
  std::string device = "kind: serial";
  std::string model = "instances: 1";
  std::string points = "{rows: 1, mean: 10ms}";
  std::string policy = "fifo";
};
Interval99 MeanResponse(const Station& station, double rate_per_s, int seconds) {
  constexpr int kRuns = 10;
  std::vector<double> means;
  for (int seed = 1; seed <= kRuns; ++seed) {
    const auto run = Done(fmt::format(R"(
duration: {}s
warmup: {}s
seed: {}
policy: {{name: {}}}
models: [{{name: m, {}}}]
nodes:
  - name: n
    devices: [{{name: d, {}}}]
    limits: {{queue_requests: 100000}}
    profile: {{variants: [{{model: m, variant: default, device: d, points: [{}]}}]}}
applications: [{{name: a, model: m, rate: {}/s}}]
)",
                                      seconds, seconds / 20, seed, station.policy, station.model,
                                      station.device, station.points, rate_per_s));
    means.push_back(run->tally().sources()[0].latency.MeanNs() * 1e-6);
  }
  return Interval99Of(means);
}

// Probability of waiting in M/M/c (Erlang C), offered load a < c.
double ErlangC(int c, double a) {
  double b = 1;
  for (int i = 1; i <= c; ++i) b = a * b / (i + a * b);
  const double rho = a / c;
  return b / (1 - rho * (1 - b));
}

// The interval is narrow enough to tell the theory from its neighbours, and holds it.
void ExpectTheory(const Interval99& seen, double theory_ms) {
  EXPECT_LT(seen.half, 0.06 * theory_ms);
  EXPECT_NEAR(seen.mean, theory_ms, seen.half);
}

// Machine repair, M/M/1//N: clients who think for 1/lambda on the mean, one server with rate mu.
// With all probabilities relative to that of the empty system, p_k = p_{k-1} (N - k + 1) lambda /
// mu.
double RepairResponseMs(int clients, double think_ms, double service_ms) {
  double p = 1;
  double sum = 1;
  double busy = 0;
  for (int k = 1; k <= clients; ++k) {
    p *= (clients - k + 1) * service_ms / think_ms;
    sum += p;
    busy += p;
  }
  // Little's law for the whole round: N = X (think + response), X = busy share / service.
  const double throughput = busy / sum / service_ms;
  return clients / throughput - think_ms;
}

TEST(Theory, ClientsWhoWaitForTheirAnswers) {
  for (const int clients : {3, 12}) {
    constexpr int kRuns = 10;
    std::vector<double> means;
    for (int seed = 1; seed <= kRuns; ++seed) {
      const auto run = Done(fmt::format(R"(
duration: 300s
warmup: 10s
seed: {}
policy: {{name: fifo}}
models: [{{name: m, instances: 1}}]
nodes:
  - name: n
    devices: [{{name: d, kind: serial, noise: exponential}}]
    profile: {{variants: [{{model: m, variant: default, device: d, points: [{{rows: 1, mean: 10ms}}]}}]}}
applications:
  - {{name: a, model: m, arrivals: {{kind: closed, clients: {}, think: 60ms}}}}
)",
                                        seed, clients));
      means.push_back(run->tally().sources()[0].latency.MeanNs() * 1e-6);
    }
    ExpectTheory(Interval99Of(means), RepairResponseMs(clients, 60, 10));
  }
}

TEST(Theory, MM1) {
  for (const double rho : {0.3, 0.7}) {
    ExpectTheory(MeanResponse({.device = "kind: serial, noise: exponential"}, 100 * rho, 400),
                 10 / (1 - rho));
  }
}

TEST(Theory, MD1) {
  for (const double rho : {0.3, 0.7}) {
    ExpectTheory(MeanResponse({}, 100 * rho, 400), 10 + 10 * rho / (2 * (1 - rho)));
  }
}

// Pollaczek and Khinchine, with a service that varies.
TEST(Theory, MG1) {
  const double rho = 0.6;
  const double cv = 0.5;
  ExpectTheory(MeanResponse({.device = "kind: serial, noise: {cv: 0.5}"}, 100 * rho, 400),
               10 + 10 * rho * (1 + cv * cv) / (2 * (1 - rho)));
}

TEST(Theory, MMc) {
  const int c = 3;
  const double a = 2.1;
  ExpectTheory(
      MeanResponse({.device = "kind: cpu, cores: 3, noise: exponential", .model = "instances: 3"},
                   100 * a, 200),
      10 + 10 * ErlangC(c, a) / (c - a));
}

// Processor sharing: the mean does not depend on the distribution. As many slots as ever needed.
TEST(Theory, MG1ProcessorSharing) {
  for (const std::string noise : {"none", "exponential"}) {
    ExpectTheory(
        MeanResponse({.device = fmt::format("kind: timeslice, slots: 200, noise: {}", noise),
                      .model = "instances: 200"},
                     60, 400),
        10 / (1 - 0.6));
  }
}

// Batches of up to K that take an exponential time whatever is in them (M/M[1,K]/1; Gross and
// Harris, bulk service): with r the root in (0, 1) of mu r^(K+1) - (lambda + mu) r + lambda = 0,
// n wait while the server works with probability p r^n.
double BulkServiceResponse(double lambda, double mu, int most) {
  double r = 0.5;
  for (int i = 0; i < 200; ++i) r = (lambda + mu * std::pow(r, most + 1)) / (lambda + mu);
  const double p = 1 / (mu / lambda + 1 / (1 - r));
  return p * r / ((1 - r) * (1 - r)) / lambda + 1 / mu;
}

TEST(Theory, BatchService) {
  for (const int most : {1, 4, 8}) {
    for (const double rho : {0.5, 0.8}) {
      const double rate = 100 * rho * most;
      ExpectTheory(MeanResponse({.device = "kind: serial, noise: exponential",
                                 .model = fmt::format("instances: 1, max_batch_size: {}, "
                                                      "dynamic_batching: {{max_queue_delay: 0ms}}",
                                                      most),
                                 .points = "{rows: 1, mean: 10ms}, {rows: 8, mean: 10ms}",
                                 .policy = "size-or-timeout"},
                                rate, 400 / most),
                   1000 * BulkServiceResponse(rate, 100, most));
    }
  }
}

// Requests that are in the node, over time.
class Inside final : public EventObserver {
 public:
  void OnEvent(TimePoint now, const Event& event, const Effects& effects) override {
    area_ns_ += static_cast<double>((now - last_).count()) * inside_;
    last_ = now;
    if (event.kind == Event::Kind::kArrival) ++inside_;
    inside_ -= static_cast<int>(effects.finishes.size());
  }
  double area_ns() const { return area_ns_; }
  int inside() const { return inside_; }

 private:
  TimePoint last_{};
  double area_ns_ = 0;
  int inside_ = 0;
};

// Little's law, which holds for every queue and policy: the time integral of those inside is the
// sum of their response times, so mean number = rate x mean response.
TEST(Theory, LittlesLaw) {
  for (const std::string policy : {"fifo", "edf", "size-or-timeout"}) {
    const auto run = Started(fmt::format(R"(
duration: 100s
warmup: 0s
policy: {{name: {}}}
models: [{{name: m, max_batch_size: 4}}, {{name: n}}]
nodes:
  - name: n
    devices: [{{name: d, kind: timeslice, noise: {{cv: 0.5}}}}]
    limits: {{queue_requests: 100000}}
    profile:
      variants:
        - {{model: m, variant: default, device: d, points: [{{rows: 1, mean: 10ms}}, {{rows: 4, mean: 25ms}}]}}
        - {{model: n, variant: default, device: d, points: [{{rows: 1, mean: 4ms}}]}}
applications: [{{name: a, model: m, rate: 50/s}}, {{name: b, model: n, rate: 60/s}}]
)",
                                         policy));
    Inside inside;
    run->Observe(0, inside);
    EXPECT_FALSE(run->Advance(Duration::max()));
    double responses_ns = 0;
    for (const SourceTally& tally : run->tally().sources()) {
      EXPECT_EQ(CountOf(tally, Outcome::kOnTime), tally.sent) << policy;
      responses_ns += tally.latency.MeanNs() * static_cast<double>(tally.sent);
    }
    EXPECT_EQ(inside.inside(), 0);
    EXPECT_GT(inside.area_ns(), 0.5 * 100e9) << "a load worth measuring";
    EXPECT_NEAR(inside.area_ns(), responses_ns, 1e-6 * responses_ns) << policy;
  }
}

TEST(Theory, UtilizationIsTheOfferedLoad) {
  const auto run = Done(R"(
duration: 500s
policy: {name: fifo}
models: [{name: m}]
nodes:
  - name: n
    devices: [{name: d, kind: serial, power: {idle_w: 2, busy_w: 10}}]
    profile: {variants: [{model: m, variant: default, device: d, points: [{rows: 1, mean: 10ms}]}]}
applications: [{name: a, model: m, rate: 50/s}]
)");
  const DeviceUse use = run->devices().front();
  const auto sent = static_cast<double>(run->tally().sources()[0].sent);
  EXPECT_NEAR(use.utilization, sent * 0.01 / 500, 1e-4);
  EXPECT_NEAR(*use.energy_j, 500 * (2 + 8 * use.utilization), 1e-6);
}

// Batches of three models share the device for a while, so that those of `a` seem three times as
// long as they are alone. Refusing on that ground teaches nothing: it must fade.
TEST(ScenarioRun, ABurstOfOthersDoesNotShutAnApplicationOutForEver) {
  const auto run = Done(R"(
duration: 400s
warmup: 0s
policy: {name: edf}
models: [{name: a}, {name: b}, {name: c}]
nodes:
  - name: n
    devices: [{name: gpu, kind: timeslice}]
    profile:
      variants:
        - {model: a, variant: default, device: gpu, points: [{rows: 1, mean: 30ms}]}
        - {model: b, variant: default, device: gpu, points: [{rows: 1, mean: 25ms}]}
        - {model: c, variant: default, device: gpu, points: [{rows: 1, mean: 20ms}]}
applications:
  - {name: a, model: a, rate: 10/s, slo: 66ms}
  - {name: b, model: b, rate: 12/s, slo: 900ms, arrivals: {kind: onoff, on: 20s, off: 60s}}
  - {name: c, model: c, rate: 12/s, slo: 900ms, arrivals: {kind: onoff, on: 20s, off: 60s}}
)");
  const SourceTally& a = run->tally().sources()[0];
  EXPECT_GT(CountOf(a, Outcome::kOnTime), a.sent / 2) << CountOf(a, Outcome::kRejected);
}

constexpr const char* kTwoNodes = R"(
duration: 20s
warmup: 1s
seed: {}
policy: {{name: edf}}
models:
  - {{name: a, max_batch_size: 8, variants: [{{name: big, accuracy: 80}}, {{name: small, accuracy: 70}}]}}
  - {{name: b}}
nodes:
  - name: one
    devices:
      - {{name: gpu, kind: timeslice, noise: {{cv: 0.1}}}}
      - {{name: tpu, kind: edgetpu, swap: {{a: 10ms, b: 4ms}}}}
    link: {{request: 1ms, response: 2ms}}
    profile:
      variants:
        - {{model: a, variant: big, device: gpu, points: [{{rows: 1, mean: 12ms}}, {{rows: 8, mean: 40ms}}]}}
        - {{model: a, variant: small, device: "*", points: [{{rows: 1, mean: 5ms}}, {{rows: 8, mean: 20ms}}]}}
        - {{model: b, variant: default, device: tpu, points: [{{rows: 1, mean: 3ms}}]}}
  - name: two
    devices: [{{name: cpu, kind: cpu, cores: 4, noise: {{cv: 0.3}}, fail_every: 50}}]
    profile:
      variants:
        - {{model: a, variant: small, device: cpu, points: [{{rows: 1, mean: 30ms}}]}}
        - {{model: b, variant: default, device: cpu, points: [{{rows: 1, mean: 20ms}}]}}
applications:
  - {{name: x, model: a, rate: 200/s, slo: 60ms, on_miss: degrade, min_accuracy: 70}}
  - {{name: y, model: b, rate: 60/s, timeout: 100ms, cancel: {{share: 0.2, after: 5ms}}}}
  - {{name: z, model: a, rate: 10/s, nodes: [one]}}
)";

TEST(ScenarioRun, EveryRequestEndsOnceAndIsCounted) {
  const auto run = Done(fmt::format(fmt::runtime(kTwoNodes), 3));
  std::array<double, 3> expected{200 * 20, 60 * 20, 10 * 20};
  for (std::size_t a = 0; a < 3; ++a) {
    const SourceTally& tally = run->tally().sources()[a];
    std::uint64_t ended = 0;
    for (const std::uint64_t count : tally.outcomes) ended += count;
    EXPECT_EQ(ended, tally.sent);
    EXPECT_NEAR(static_cast<double>(tally.sent), expected[a], 5 * std::sqrt(expected[a]));
  }
  const SourceTally& x = run->tally().sources()[0];
  EXPECT_GT(CountOf(x, Outcome::kOnTime), 0U);
  EXPECT_GT(CountOf(x, Outcome::kRejected), 0U);
  EXPECT_GT(CountOf(x, Outcome::kFailed), 0U);
  EXPECT_LE(ToMillis(x.latency.Percentile(0.9)), 60) << "promises are kept";
  const SourceTally& y = run->tally().sources()[1];
  EXPECT_GT(CountOf(y, Outcome::kCancelled), 0U);
  // Pinned to a node whose answers take 3 ms on the way.
  const SourceTally& z = run->tally().sources()[2];
  EXPECT_GT(z.latency.Percentile(0.001), std::chrono::milliseconds(7));
  EXPECT_TRUE(z.devices[1].empty());
}

// What the engine is told and what happens may differ: it learns from the latter.
TEST(ScenarioRun, RunsTakeTheirFactorAndOverhead) {
  const auto run = Done(R"(
duration: 100s
policy: {name: fifo}
models: [{name: m, variants: [{name: big}, {name: small}], default_variant: small}]
nodes:
  - name: n
    devices: [{name: d, kind: serial}]
    service_factor: 1.5
    batch_overhead: 2ms
    profile:
      variants:
        - {model: m, variant: big, device: d, points: [{rows: 1, mean: 100ms}]}
        - {model: m, variant: small, device: d, points: [{rows: 1, mean: 10ms}]}
applications: [{name: a, model: m, rate: 5/s, arrivals: constant}]
)");
  const SourceTally& tally = run->tally().sources()[0];
  EXPECT_NEAR(tally.latency.MeanNs(), 17e6, 1);
  EXPECT_EQ(tally.variants[0], 0U);
}

// Everything that leaves the engines, as one number.
class Fingerprint final : public EventObserver {
 public:
  void OnEvent(TimePoint now, const Event& event, const Effects& effects) override {
    Mix(static_cast<std::uint64_t>(ToNanos(now)) * 8 + static_cast<std::uint64_t>(event.kind));
    for (const StartBatch& start : effects.starts) Mix(start.batch * 64ULL + start.rows);
    for (const Finish& finish : effects.finishes) {
      Mix(finish.request.sequence * 8 + static_cast<std::uint64_t>(finish.outcome));
      Mix(static_cast<std::uint64_t>(finish.service.count()));
    }
  }
  std::uint64_t value = 0xCBF29CE484222325ULL;

 private:
  void Mix(std::uint64_t x) { value = (value ^ x) * 0x100000001B3ULL; }
};

std::uint64_t FingerprintOf(int seed, Duration step) {
  Fingerprint fingerprint;
  const auto run = Started(fmt::format(fmt::runtime(kTwoNodes), seed));
  run->Observe(0, fingerprint);
  run->Observe(1, fingerprint);
  Duration until = step;
  while (run->Advance(until)) until += step;
  return fingerprint.value;
}

TEST(ScenarioRun, TheSameSeedIsTheSameRunInAnySteps) {
  const std::uint64_t whole = FingerprintOf(3, std::chrono::seconds(100));
  EXPECT_EQ(FingerprintOf(3, std::chrono::seconds(100)), whole);
  EXPECT_EQ(FingerprintOf(3, std::chrono::milliseconds(7)), whole);
  EXPECT_NE(FingerprintOf(4, std::chrono::seconds(100)), whole);
}

// GCC and Clang, with and without optimisation, must agree on this number.
TEST(ScenarioRun, TheRunIsTheSameOnEveryCompiler) {
  EXPECT_EQ(FingerprintOf(3, std::chrono::seconds(100)), 6048307443120961643U);
}

// The fingerprint of every node of a file that is shipped.
std::vector<std::uint64_t> FingerprintsOf(const std::string& file) {
  Faults faults;
  Scenario scenario = ReadScenario(file, faults);
  scenario.duration = std::chrono::seconds(5);
  scenario.warmup = std::chrono::seconds(1);
  auto run = ScenarioRun::Create(scenario, MakeDispatchPolicy, faults);
  EXPECT_TRUE(faults.empty()) << faults.ToString();
  if (run == nullptr) return {};
  std::vector<Fingerprint> prints(scenario.nodes.size());
  for (std::size_t n = 0; n < prints.size(); ++n) run->Observe(n, prints[n]);
  run->Advance(Duration::max());
  std::vector<std::uint64_t> values;
  for (const Fingerprint& print : prints) {
    EXPECT_NE(print.value, Fingerprint().value) << file << ": a node that nothing reaches";
    values.push_back(print.value);
  }
  return values;
}

TEST(Shipped, EveryScenarioIsTheSameRunTwice) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DULY_SCENARIOS)) {
    if (entry.path().extension() != ".yaml") continue;
    ++files;
    EXPECT_EQ(FingerprintsOf(entry.path().string()), FingerprintsOf(entry.path().string()));
  }
  EXPECT_GE(files, 5U);
}

// A device of the catalogue under too much load: its power is that of the batches it runs.
TEST(ScenarioRun, EnergyFollowsTheSizeOfBatches) {
  const auto joules_per_busy_second = [](const char* model) {
    Faults faults;
    const std::string text = fmt::format(
        R"(
catalogue: {}
duration: 100s
warmup: 0s
policy: {{name: size-or-timeout}}
models: [{{name: inception_v3, {}, variants: [{{name: fp32}}]}}]
nodes: [{{name: n, devices: [{{name: gpu, is: agx-xavier/gpu, kind: serial}}]}}]
applications: [{{name: a, model: inception_v3, rate: 400/s, arrivals: constant}}]
)",
        DULY_DEVICES, model);
    const Scenario scenario = ParseScenario(text, "s.yaml", faults);
    auto run = ScenarioRun::Create(scenario, MakeDispatchPolicy, faults);
    EXPECT_TRUE(faults.empty()) << faults.ToString();
    run->Advance(Duration::max());
    const DeviceUse use = run->devices()[0];
    EXPECT_GT(use.utilization, 0.95);
    return (*use.energy_j - 545.6 * (1 - use.utilization)) / (100 * use.utilization);
  };
  // Saturated: P0 + (k - j/b) f^n at 1.377 GHz, f^n = 1.4703.
  EXPECT_NEAR(joules_per_busy_second("max_batch_size: 0"), 5.456 + (15.85 - 7.098) * 1.4703, 0.05);
  EXPECT_NEAR(
      joules_per_busy_second("max_batch_size: 16, dynamic_batching: {preferred_batch_size: [16]}"),
      5.456 + (15.85 - 7.098 / 16) * 1.4703, 0.2);
}

TEST(ScenarioRun, WhatCannotRunIsAFault) {
  Faults faults;
  std::string text = fmt::format(fmt::runtime(kTwoNodes), 1);
  text.replace(text.find("model: b, variant: default, device: tpu"), 39,
               "model: b, variant: default, device: xyz");
  text.replace(text.find("policy: {name: edf}"), 19, "policy: {name: eddf}");
  text.replace(text.find("rate: 60/s"), 10, "rate: 60/s, nodes: [one]");
  EXPECT_EQ(ScenarioRun::Create(ParseScenario(text, "s.yaml", faults), MakeDispatchPolicy, faults),
            nullptr);
  const std::string message = faults.ToStatus().message();
  EXPECT_THAT(message, HasSubstr("application 'y': model 'b' runs on no device of node 'one'"));
  EXPECT_THAT(message, HasSubstr("s.yaml:5:16: "));
  EXPECT_THAT(message, HasSubstr("eddf"));
}

// Two nodes, deterministic services of 10 ms, 50 requests a second.
std::string TwoNodes(const std::string& events, const std::string& more = "") {
  return fmt::format(R"(
duration: 10s
warmup: 0s
policy: {{name: fifo}}
models: [{{name: m, load_time: 2s, warmup: 3}}]
nodes:
  - name: left
    devices: [{{name: d, kind: serial, power: {{idle_w: 1, busy_w: 3}}}}]
    profile: {{variants: [{{model: m, variant: default, device: d, points: [{{rows: 1, mean: 10ms}}]}}]}}
  - name: right
    {}
    devices: [{{name: d, kind: serial, power: {{idle_w: 1, busy_w: 3}}}}]
    profile: {{variants: [{{model: m, variant: default, device: d, points: [{{rows: 1, mean: 10ms}}]}}]}}
applications: [{{name: a, model: m, rate: 50/s, arrivals: constant, nodes: [left]}}]
events:
{}
)",
                     more, events);
}

// (what, at, done) in ms; -1: not done.
std::vector<std::tuple<std::string, std::int64_t, std::int64_t>> ChangesOf(const ScenarioRun& run) {
  std::vector<std::tuple<std::string, std::int64_t, std::int64_t>> changes;
  for (const Change& change : run.changes()) {
    const std::int64_t done = change.done ? change.done->count() / 1'000'000 : -1;
    changes.emplace_back(change.what, change.at.count() / 1'000'000, done);
  }
  return changes;
}
using Changed = std::vector<std::tuple<std::string, std::int64_t, std::int64_t>>;

TEST(Changes, ALoadTakesItsTimeAndItsWarmUp) {
  const auto run = Done(TwoNodes(R"(
  - {at: 1s, unload: m, node: left}
  - {at: 3s, load: m, node: left}
  - {at: 4s, load: m, node: left}
  - {at: 9s, load: m, node: left}
)"));
  EXPECT_EQ(ChangesOf(*run)[1], (std::tuple("load m", 3000, 5030)));
  EXPECT_EQ(ChangesOf(*run)[2], (std::tuple("load m", 4000, 5030))) << "it is under way";
  EXPECT_EQ(ChangesOf(*run)[3], (std::tuple("load m", 9000, 9000))) << "it is there";
  const SourceTally& tally = run->tally().sources()[0];
  EXPECT_EQ(tally.sent, 500U);
  // Between 1 s and 5.03 s nobody has it.
  const std::uint64_t rejected = CountOf(tally, Outcome::kRejected);
  EXPECT_NEAR(static_cast<double>(rejected), 4.03 * 50, 1);
  EXPECT_EQ(tally.reject_reasons[static_cast<std::size_t>(RejectReason::kModelUnavailable)],
            rejected);
  EXPECT_EQ(CountOf(tally, Outcome::kOnTime), tally.sent - rejected);
}

// 20 requests at once, 10 ms each: what was accepted is answered, then the model is gone.
TEST(Changes, AnUnloadWaitsForWhatWasAccepted) {
  const std::string trace = testing::TempDir() + "/burst.csv";
  std::ofstream(trace) << "1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n2\n3\n";
  std::string text = TwoNodes("  - {at: 1005ms, unload: m, node: left}\n");
  const std::size_t at = text.find("rate: 50/s, arrivals: constant");
  text.replace(at, 30, fmt::format("arrivals: {{kind: trace, file: {}, speed: 1}}", trace));
  const auto run = Done(text);
  const SourceTally& tally = run->tally().sources()[0];
  EXPECT_EQ(CountOf(tally, Outcome::kOnTime), 10U);
  EXPECT_EQ(CountOf(tally, Outcome::kRejected), 2U);
  EXPECT_EQ(ChangesOf(*run), (Changed{{"unload m", 1005, 1100}}));
  std::filesystem::remove(trace);
}

TEST(Changes, AnApplicationMovesWhenItsModelServesThere) {
  const auto run = Done(TwoNodes("  - {at: 2s, move: a, to: right}\n", "without: [m]"));
  EXPECT_EQ(ChangesOf(*run), (Changed{{"move a", 2000, 4030}}));
  const SourceTally& tally = run->tally().sources()[0];
  EXPECT_EQ(CountOf(tally, Outcome::kOnTime), 500U) << "nobody noticed";
  EXPECT_NEAR(static_cast<double>(tally.devices[0][0]), 4.03 * 50, 1);
  EXPECT_EQ(tally.devices[0][0] + tally.devices[1][0], 500U);
  // Idle 10 s at 1 W, and 2 W more for 10 ms a request.
  EXPECT_NEAR(*run->devices()[0].energy_j, 10 + 0.02 * static_cast<double>(tally.devices[0][0]),
              1e-6);
}

TEST(Changes, RoundsPassOverANodeWithoutTheModel) {
  std::string text = TwoNodes("  - {at: 5s, unload: m, node: right}\n");
  text.replace(text.find(", nodes: [left]"), 15, "");
  const auto run = Done(text);
  const SourceTally& tally = run->tally().sources()[0];
  EXPECT_EQ(CountOf(tally, Outcome::kOnTime), 500U);
  EXPECT_NEAR(static_cast<double>(tally.devices[1][0]), 125, 1);
}

// The Nano's clock takes 650 ms to change; then batches take longer, for less power.
TEST(Changes, AClockStepHoldsAfterItsLatency) {
  const auto run_with = [](const std::string& events) {
    return Done(fmt::format(R"(
duration: 10s
warmup: 0s
policy: {{name: fifo}}
catalogue: {}
models: [{{name: inception_v3, variants: [{{name: default, is: fp16}}]}}]
nodes: [{{name: n, devices: [{{name: gpu, is: jetson-nano/gpu}}]}}]
applications: [{{name: a, model: inception_v3, rate: 5/s, arrivals: constant}}]
{}
)",
                            DULY_DEVICES, events));
  };
  const auto fast = run_with("");
  const auto slow = run_with("events: [{at: 0s, frequency: 460.8MHz, node: n, device: gpu}]");
  const auto late = run_with("events: [{at: 5s, frequency: 460.8MHz, node: n, device: gpu}]");
  EXPECT_EQ(ChangesOf(*late), (Changed{{"gpu at 460.8MHz", 5000, 5650}}));
  const auto busy = [](const ScenarioRun& run) { return run.devices()[0].utilization; };
  const auto energy = [](const ScenarioRun& run) { return *run.devices()[0].energy_j; };
  EXPECT_GT(busy(*slow), 1.3 * busy(*fast));
  // 5.65 s of the one and 4.35 s of the other; of the slow run 0.65 s are fast.
  const double share = 4.35 / 9.35;
  EXPECT_NEAR(busy(*late), busy(*fast) + share * (busy(*slow) - busy(*fast)), 0.01);
  EXPECT_NEAR(energy(*late), energy(*fast) + share * (energy(*slow) - energy(*fast)), 0.5);
  EXPECT_NE(energy(*slow), energy(*fast));
}

// Always busy: unthrottled it would reach 25 + 10 x 6 W or more.
TEST(Changes, AWarmDeviceIsThrottledAndReleased) {
  const auto run_with = [](const std::string& thermal, const std::string& applications) {
    return Done(fmt::format(R"(
duration: 100s
warmup: 0s
policy: {{name: fifo}}
catalogue: {}
models: [{{name: inception_v3, variants: [{{name: default, is: fp16}}]}}]
nodes: [{{name: n, devices: [{{name: gpu, is: jetson-nano/gpu{}}}]}}]
applications: [{{name: a, model: inception_v3, {}}}]
)",
                            DULY_DEVICES, thermal, applications));
  };
  const std::string busy = "arrivals: {kind: closed, clients: 2, think: 1ms}";
  const std::string hot =
      ", thermal: {resistance: 10, time_constant: 10s, throttle_at: 60, release_at: 55}";
  const auto cool = run_with("", busy);
  const auto warm = run_with(hot, busy);
  const DeviceUse use = warm->devices()[0];
  EXPECT_GE(*use.peak_c, 60);
  EXPECT_GT(25 + 10 * *cool->devices()[0].energy_j / 100, 80) << "where it would tend to";
  EXPECT_LT(*use.peak_c, 70) << "a step a poll";
  EXPECT_GT(use.throttled_s, 50);
  EXPECT_LT(*use.energy_j, *cool->devices()[0].energy_j);
  EXPECT_LT(warm->tally().sources()[0].sent, cool->tally().sources()[0].sent);
  EXPECT_FALSE(cool->devices()[0].peak_c.has_value());
  // One request a second lets it rest.
  const auto rests = run_with(hot, "rate: 1/s, arrivals: constant");
  EXPECT_EQ(rests->devices()[0].throttled_s, 0);
}

TEST(Simulator, MessagesTakeTheirTimeOnALink) {
  const auto mean_ms = [](const std::string& link) {
    const auto run = Done(fmt::format(R"(
duration: 100s
warmup: 0s
policy: {{name: fifo}}
models: [{{name: m}}]
nodes:
  - name: n
    devices: [{{name: d, kind: serial}}]
    link: {}
    profile: {{variants: [{{model: m, variant: default, device: d, points: [{{rows: 1, mean: 10ms}}]}}]}}
applications: [{{name: a, model: m, rate: 10/s, arrivals: constant, request_size: 50kB, response_size: 10kB}}]
)",
                                      link));
    return run->tally().sources()[0].latency.MeanNs() * 1e-6;
  };
  EXPECT_NEAR(mean_ms("{request: 2ms, response: 3ms}"), 15, 1e-6);
  EXPECT_NEAR(mean_ms("{request: 2ms, response: 3ms, bytes_per_s: 10MB}"), 21, 1e-6);
  const double lossy = mean_ms("{request: 2ms, response: 3ms, loss: 0.1, retransmit: 30ms}");
  // 0.1 / 0.9 retries of 30 ms each way on the mean, and what waits behind them.
  EXPECT_GT(lossy, 15 + 2 * 30 * 0.08);
  EXPECT_LT(lossy, 15 + 2 * 30 * 0.16);
}

}  // namespace
}  // namespace duly::sim
