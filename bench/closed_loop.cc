// SPDX-License-Identifier: Apache-2.0
#include "closed_loop.h"

#include <algorithm>
#include <iostream>

#include "base/random.h"
#include "cli/flags.h"

namespace duly {
namespace {

struct Run {
  double rate_per_s = 0;
  double mean_us = 0;
  double p50_us = 0;
  double p90_us = 0;
  double p99_us = 0;
  std::size_t requests = 0;
};

Run Summarize(std::vector<Duration> latencies, Duration elapsed) {
  Run run;
  run.requests = latencies.size();
  if (latencies.empty()) return run;
  std::sort(latencies.begin(), latencies.end());
  const auto percentile = [&latencies](std::size_t percent) {
    return ToMicros(latencies[(latencies.size() - 1) * percent / 100]);
  };
  double sum_us = 0;
  for (const Duration latency : latencies) sum_us += ToMicros(latency);
  run.rate_per_s = static_cast<double>(latencies.size()) / ToSeconds(elapsed);
  run.mean_us = sum_us / static_cast<double>(latencies.size());
  run.p50_us = percentile(50);
  run.p90_us = percentile(90);
  run.p99_us = percentile(99);
  return run;
}

}  // namespace

void AddClosedLoop(CLI::App& app, ClosedLoop& loop) {
  app.add_option("--concurrency", loop.concurrency, "Requests in flight (1)")
      ->check(CLI::PositiveNumber);
  app.add_option("--runs", loop.runs, "Repetitions (5)")->check(CLI::PositiveNumber);
  app.add_flag("--shared-memory", loop.shared_memory,
               "Tensors in system shared memory, both ways; the server needs --allow-client-shm");
  AddDuration(app, "--duration", loop.duration, "Of each run (2s)");
  AddDuration(app, "--warmup", loop.warmup, "Before each run (500ms)");
}

std::vector<float> RandomInput(std::size_t elements) {
  RandomStream random(1, "bench/input");
  std::vector<float> values(elements);
  for (float& value : values) value = static_cast<float>(random.Uniform());
  return values;
}

int RunClosedLoop(const ClosedLoop& loop, nlohmann::ordered_json about,
                  const ClosedLoop::Drive& drive) {
  const Duration duration = loop.duration.value_or(std::chrono::seconds(2));
  const Duration warmup = loop.warmup.value_or(std::chrono::milliseconds(500));
  std::vector<Duration> latencies;
  std::vector<Run> runs;
  std::vector<double> rates;
  std::size_t answers = 0;
  for (int i = 0; i < loop.runs; ++i) {
    for (const Duration time : {warmup, duration}) {
      latencies.clear();
      if (const Status status = drive(ClosedLoop::Clock::now() + time, latencies); !status.ok()) {
        std::cerr << status.message() << '\n';
        return 1;
      }
      answers += latencies.size() + loop.concurrency;  // those on their way at the deadline too
    }
    runs.push_back(Summarize(latencies, duration));
    rates.push_back(runs.back().rate_per_s);
  }
  std::sort(runs.begin(), runs.end(),
            [](const Run& a, const Run& b) { return a.rate_per_s < b.rate_per_s; });
  const Run& median = runs[runs.size() / 2];
  about.update({{"concurrency", loop.concurrency},
                {"duration_s", ToSeconds(duration)},
                {"rate_per_s", median.rate_per_s},
                {"mean_us", median.mean_us},
                {"p50_us", median.p50_us},
                {"p90_us", median.p90_us},
                {"p99_us", median.p99_us},
                {"requests", median.requests},
                {"answers_in_all", answers},
                {"rate_min_per_s", runs.front().rate_per_s},
                {"rate_max_per_s", runs.back().rate_per_s},
                {"rates_per_s", rates}});
  std::cout << about.dump(1) << '\n';
  return 0;
}

}  // namespace duly
