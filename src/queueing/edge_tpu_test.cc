// SPDX-License-Identifier: Apache-2.0
#include "queueing/edge_tpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

using ::testing::HasSubstr;

// The published constants of the two models of the trace.
constexpr double kService[] = {0.06295, 0.01923};
constexpr double kSwap[] = {0.01939, 0.02463};

std::vector<SwappedClass> TwoModels(double inception_per_s, double ssd_per_s) {
  return {{inception_per_s, {kService[0], 0}, kSwap[0]}, {ssd_per_s, {kService[1], 0}, kSwap[1]}};
}

TEST(WaitWithSwaps, IsThePublishedFormula) {
  // By hand: Lambda 10, alpha 0.6 and 0.4, s' 0.08 + 0.012 and 0.02 + 0.004.
  const SwappedClass classes[] = {{4, {0.08, 0}, 0.02}, {6, {0.02, 0}, 0.01}};
  const Result<SwappedWait> wait = WaitWithSwaps(classes, SecondMomentForm::kPublished);
  ASSERT_TRUE(wait);
  EXPECT_NEAR(EffectiveService(classes, 0), 0.092, 1e-15);
  EXPECT_NEAR(EffectiveService(classes, 1), 0.024, 1e-15);
  const double rho = 4 * 0.092 + 6 * 0.024;
  EXPECT_NEAR(wait->utilization, rho, 1e-15);
  EXPECT_NEAR(wait->wait_s, (4 * 0.092 * 0.092 + 6 * 0.024 * 0.024) / (2 * (1 - rho)), 1e-15);
  const double second = 4 * (0.6 * 0.01 + 0.4 * 0.0064) + 6 * (0.4 * 0.0009 + 0.6 * 0.0004);
  EXPECT_NEAR(WaitWithSwaps(classes, SecondMomentForm::kExact)->wait_s, second / (2 * (1 - rho)),
              1e-15);
}

TEST(WaitWithSwaps, OneModelAndOneSetNeverSwap) {
  const SwappedClass alone[] = {{4, {0.08, 0}, 0.02}};
  EXPECT_EQ(EffectiveService(alone, 0), 0.08);
  const SwappedClass set[] = {{4, {0.08, 0}, 0.02, 1}, {3, {0.01, 0}, 0.02, 1}};
  EXPECT_EQ(EffectiveService(set, 0), 0.08);
  const SwappedClass three[] = {
      {4, {0.08, 0}, 0.02, 1}, {3, {0.01, 0}, 0.02, 1}, {3, {0.01, 0}, 1}};
  EXPECT_NEAR(EffectiveService(three, 0), 0.08 + 0.3 * 0.02, 1e-15);
  // With and without the exact model.
  const ClassLoad plain[] = {{4, {0.08, 0}}, {3, {0.01, 0}}};
  const Result<PairedQueue> queue = PairedQueue::Create(ToPairs(set));
  ASSERT_TRUE(queue);
  EXPECT_NEAR(queue->MeanResponse(1), FcfsSingleServer(plain)->mean_s + 0.01, 1e-9);
}

TEST(WaitWithSwaps, RefusesBadInput) {
  EXPECT_EQ(WaitWithSwaps(TwoModels(12, 12), SecondMomentForm::kExact).error().code(),
            StatusCode::kResourceExhausted);
  const SwappedClass bad[] = {{4, {0.08, 0}, -0.02}};
  EXPECT_THAT(WaitWithSwaps(bad, SecondMomentForm::kPublished).error().message(),
              HasSubstr("the time of a swap is -0.02"));
  EXPECT_FALSE(PairedQueue::Create({{1, 1}, {{1, 0}}, {0, 0}}));
}

TEST(DefaultSwap, IsWithinItsErrorOfThePublishedSwaps) {
  const double published[][2] = {{3.75, 10.71}, {4.21, 11.61}, {5.17, 13.70}, {5.67, 14.88},
                                 {6.03, 15.71}, {6.56, 17.31}, {6.74, 17.41}};
  for (const auto& [megabytes, milliseconds] : published) {
    EXPECT_NEAR(DefaultSwap(megabytes) * 1e3, milliseconds, 0.285);
  }
}

TEST(PairedQueue, MeetsSimulationAndTheOthersTheirErrors) {
  double worst_published = 0;
  double worst_exact = 0;
  for (const double load : {0.3, 0.7, 1.0, 1.25}) {
    const std::vector<SwappedClass> classes = TwoModels(6.07 * load, 7.149 * load);
    const Result<PairedQueue> queue = PairedQueue::Create(ToPairs(classes));
    ASSERT_TRUE(queue);
    const double rates[] = {classes[0].rate_per_s, classes[1].rate_per_s};
    const Responses responses =
        SimulateFcfs(rates, 300000, 7, [](int before, int now, RandomStream&) {
          return kService[now] + (before == now ? 0 : kSwap[now]);
        });
    const WaitDistribution wait = WaitDistribution::Create(queue->workload(), 0.99).value();
    for (std::size_t j = 0; j < 2; ++j) {
      const Measured mean = MeanOf(responses[j]);
      EXPECT_NEAR(mean.value, queue->MeanResponse(j), mean.half_width) << load << " " << j;
      for (const double q : {0.5, 0.95, 0.99}) {
        const Measured observed = QuantileOf(responses[j], q);
        const double predicted = wait.Quantile(queue->Response(j), q).value();
        EXPECT_NEAR(observed.value, predicted, observed.half_width + 0.003 * predicted)
            << load << " " << j << " " << q;
      }
      const auto off = [&](SecondMomentForm form) {
        const double response = WaitWithSwaps(classes, form)->wait_s + EffectiveService(classes, j);
        return std::abs(response / queue->MeanResponse(j) - 1);
      };
      worst_published = std::max(worst_published, off(SecondMomentForm::kPublished));
      worst_exact = std::max(worst_exact, off(SecondMomentForm::kExact));
    }
  }
  EXPECT_LT(worst_published, 0.06);
  EXPECT_LT(worst_exact, 0.03);
}

// What a device of known times would have shown.
std::vector<ServedRequest> Serve(const PairedServices& services, int requests) {
  RandomStream stream(11, "serve");
  const double total = services.rate_per_s[0] + services.rate_per_s[1];
  std::vector<ServedRequest> served;
  double now = 0;
  double free = 0;
  std::size_t before = 0;
  for (int n = 0; n < requests; ++n) {
    now += stream.Exponential(1 / total);
    const std::size_t kind = stream.Uniform() * total < services.rate_per_s[0] ? 0 : 1;
    free = std::max(now, free) + Draw(services.service[before * 2 + kind], stream);
    served.push_back({kind, now, free + services.after_s[kind]});
    before = kind;
  }
  std::sort(served.begin(), served.end(),
            [](const ServedRequest& a, const ServedRequest& b) { return a.done_s < b.done_s; });
  return served;
}

TEST(Calibrate, FindsTheTimesOfADevice) {
  const PairedServices known{
      {5, 9}, {{0.06, 0}, {0.04, 0}, {0.08, 0}, {0.018, 0.04}}, {0.0005, 0.005}};
  const Result<PairedServices> found = Calibrate(Serve(known, 20000), 2);
  ASSERT_TRUE(found);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(found->rate_per_s[i], known.rate_per_s[i], 0.03 * known.rate_per_s[i]);
    EXPECT_NEAR(found->after_s[i], known.after_s[i], 2e-4) << i;
  }
  for (std::size_t pair = 0; pair < 4; ++pair) {
    EXPECT_NEAR(found->service[pair].mean_s, known.service[pair].mean_s, 3e-4) << pair;
    EXPECT_NEAR(found->service[pair].cv2, known.service[pair].cv2, 0.005) << pair;
  }
}

TEST(Calibrate, NeedsRequestsOfEveryPairInOrder) {
  EXPECT_EQ(Calibrate({}, 1).error().code(), StatusCode::kFailedPrecondition);
  const ServedRequest unordered[] = {{0, 1, 2}, {0, 1, 1.5}};
  EXPECT_EQ(Calibrate(unordered, 1).error().code(), StatusCode::kInvalidArgument);
  const ServedRequest unknown[] = {{1, 1, 2}};
  EXPECT_EQ(Calibrate(unknown, 1).error().code(), StatusCode::kInvalidArgument);
}

// The measured trace: tests/data/ibis/README.md.
class IbisTrace : public ::testing::Test {
 protected:
  static constexpr double kLoads[] = {0.1, 0.2, 0.3, 0.4, 0.5};

  IbisTrace() {
    std::ifstream file(DULY_TEST_DATA "/ibis/edgetpu_two_models.csv");
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      std::istringstream row(line);
      std::string load;
      std::string model;
      std::string start;
      std::string end;
      std::getline(row, load, ',');
      std::getline(row, model, ',');
      std::getline(row, start, ',');
      std::getline(row, end, ',');
      requests_[std::stod(load)].push_back({model == "inception_v3" ? std::size_t{0} : 1,
                                            std::stod(start) * 1e-6, std::stod(end) * 1e-6});
    }
  }

  static std::vector<double> NominalRates(double load) { return {12.14 * load, 23.83 * 0.3}; }

  // Several loads one behind the other; a gap between them is an idle device.
  std::vector<ServedRequest> Together(const std::vector<double>& loads) const {
    std::vector<ServedRequest> all;
    for (const double load : loads) {
      const double offset = all.empty() ? 0 : all.back().done_s + 1;
      for (ServedRequest request : requests_.at(load)) {
        request.arrived_s += offset;
        request.done_s += offset;
        all.push_back(request);
      }
    }
    return all;
  }

  std::vector<double> Sorted(double load, std::size_t kind) const {
    std::vector<double> responses;
    for (const ServedRequest& request : requests_.at(load)) {
      if (request.kind == kind) responses.push_back(request.done_s - request.arrived_s);
    }
    std::sort(responses.begin(), responses.end());
    return responses;
  }
  double Mean(double load, std::size_t kind) const {
    double sum = 0;
    const std::vector<double> responses = Sorted(load, kind);
    for (const double response : responses) sum += response;
    return sum / static_cast<double>(responses.size());
  }
  double Percentile(double load, std::size_t kind, double q) const {
    const std::vector<double> responses = Sorted(load, kind);
    const double place = q * static_cast<double>(responses.size() - 1);
    const auto at = static_cast<std::size_t>(place);
    return responses[at] + (place - std::floor(place)) * (responses[at + 1] - responses[at]);
  }

  // Mean, p95 and p99 of every class at every load of `loads`, as mean absolute error in percent.
  using Predict = std::function<std::array<double, 3>(double load, std::size_t kind)>;
  std::array<double, 3> Errors(const char* name, const std::vector<double>& loads,
                               const Predict& predict) const {
    std::array<double, 3> sum{};
    for (const double load : loads) {
      for (std::size_t kind = 0; kind < 2; ++kind) {
        const std::array<double, 3> predicted = predict(load, kind);
        const double measured[] = {Mean(load, kind), Percentile(load, kind, 0.95),
                                   Percentile(load, kind, 0.99)};
        for (std::size_t f = 0; f < 3; ++f) {
          sum[f] +=
              std::abs(predicted[f] / measured[f] - 1) * 50 / static_cast<double>(loads.size());
        }
      }
    }
    std::printf("| %-62s | %5.2f %% | %5.2f %% | %5.2f %% |\n", name, sum[0], sum[1], sum[2]);
    return sum;
  }

  static std::array<double, 3> OfQueue(PairedServices services, double load, std::size_t kind) {
    services.rate_per_s = NominalRates(load);
    const PairedQueue queue = PairedQueue::Create(services).value();
    const WaitDistribution wait = WaitDistribution::Create(queue.workload(), 0.99).value();
    return {queue.MeanResponse(kind), wait.Quantile(queue.Response(kind), 0.95).value(),
            wait.Quantile(queue.Response(kind), 0.99).value()};
  }
  static std::array<double, 3> OfFormula(SecondMomentForm form, double load, std::size_t kind) {
    const std::vector<double> rates = NominalRates(load);
    const std::vector<SwappedClass> classes = TwoModels(rates[0], rates[1]);
    const SwappedWait wait = WaitWithSwaps(classes, form).value();
    const ExponentialWait tail{wait.utilization, wait.wait_s / wait.utilization};
    const double service = EffectiveService(classes, kind);
    return {service + wait.wait_s, service + WaitQuantile(tail, 0.95),
            service + WaitQuantile(tail, 0.99)};
  }

  std::map<double, std::vector<ServedRequest>> requests_;
  const std::vector<double> all_{std::begin(kLoads), std::end(kLoads)};
};

TEST_F(IbisTrace, PublishedFormulaIsAsGoodAsPublishedAndDulysModelIsBetter) {
  std::printf("| model | mean | p95 | p99 |\n| --- | --- | --- | --- |\n");
  const auto published = Errors(
      "published, exponential wait", all_,
      [](double load, std::size_t k) { return OfFormula(SecondMomentForm::kPublished, load, k); });
  const auto exact = Errors(
      "exact second moment, exponential wait", all_,
      [](double load, std::size_t k) { return OfFormula(SecondMomentForm::kExact, load, k); });
  const auto constants = Errors("pairs, published constants", all_, [](double load, std::size_t k) {
    const std::vector<double> rates = NominalRates(load);
    return OfQueue(ToPairs(TwoModels(rates[0], rates[1])), load, k);
  });
  const PairedServices lowest = Calibrate(Together({0.1}), 2).value();
  const auto from_lowest =
      Errors("pairs and host, calibrated at load 0.1, loads 0.2 to 0.5", {0.2, 0.3, 0.4, 0.5},
             [&](double load, std::size_t k) { return OfQueue(lowest, load, k); });
  const auto others = Errors("pairs and host, calibrated at the four other loads", all_,
                             [&](double load, std::size_t k) {
                               std::vector<double> rest;
                               for (const double other : kLoads) {
                                 if (other != load) rest.push_back(other);
                               }
                               return OfQueue(Calibrate(Together(rest), 2).value(), load, k);
                             });
  EXPECT_NEAR(published[0], 3.87, 0.02);
  EXPECT_NEAR(exact[0], 3.71, 0.02);
  EXPECT_LT(constants[0], 4);
  for (const std::array<double, 3>& ours : {from_lowest, others}) {
    EXPECT_LT(ours[0], 3);
    EXPECT_LT(ours[1], 8);
    EXPECT_LT(ours[2], 10);
    EXPECT_LT(ours[0], published[0]);
  }
}

TEST_F(IbisTrace, ServiceBehindABusyDeviceIsShorterByTheHostsShare) {
  const PairedServices found = Calibrate(Together(all_), 2).value();
  EXPECT_NEAR(found.after_s[0] * 1e3, 0.7, 0.2);
  EXPECT_NEAR(found.after_s[1] * 1e3, 5.9, 0.3);
}

}  // namespace
}  // namespace duly::queueing
