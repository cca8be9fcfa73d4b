// SPDX-License-Identifier: Apache-2.0
#include "queueing/sharing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "queueing/grid_test_util.h"
#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

double Utilization(const std::vector<ClassLoad>& classes) {
  double sum = 0;
  for (const ClassLoad& c : classes) sum += c.rate_per_s * c.service.mean_s;
  return sum;
}

std::vector<ClassLoad> Scaled(std::vector<ClassLoad> classes, double utilization) {
  const double factor = utilization / Utilization(classes);
  for (ClassLoad& c : classes) c.rate_per_s *= factor;
  return classes;
}

TEST(PublishedGpuWait, IsEquationSixLessService) {
  const ClassLoad classes[] = {{10, {0.01, 0}}, {5, {0.04, 0}}};
  // Lambda 15, mean 0.02, mu 50: 1 / 35 - 1 / 50.
  EXPECT_NEAR(PublishedGpuWait(classes).value(), 1.0 / 35 - 1.0 / 50, 1e-15);
  const ClassLoad full[] = {{100, {0.01, 0}}};
  EXPECT_EQ(PublishedGpuWait(full).error().code(), StatusCode::kResourceExhausted);
}

TEST(SharedServer, OfOneSpeedStretchesAllAlike) {
  const double alone[] = {1};
  for (const double rho : {0.1, 0.5, 0.9}) {
    const ClassLoad classes[] = {{rho * 30, {0.02, 0}}, {rho * 4, {0.1, 2}}};
    EXPECT_NEAR(SharedServer(classes, alone)->stretch, 1 / (1 - rho), 1e-12);
  }
}

TEST(SharedServer, OfFullSpeedupIsErlangC) {
  // r(n) = min(n, c) is M/M/c in the number of requests.
  for (const int servers : {2, 3, 8}) {
    std::vector<double> speedup;
    for (int n = 1; n <= servers; ++n) speedup.push_back(n);
    const ClassLoad load{0.8 * servers / 0.02, {0.02, 1}};
    const Result<Sharing> sharing = SharedServer({&load, 1}, speedup);
    ASSERT_TRUE(sharing);
    EXPECT_NEAR(sharing->stretch * 0.02, FcfsServers(load, servers)->mean_s + 0.02, 1e-12);
    EXPECT_NEAR(sharing->utilization, 0.8, 1e-12);
  }
}

TEST(SharedServer, MeetsSimulation) {
  const std::vector<double> speedup{1, 1.5, 1.8};
  const auto speed = [&](const std::vector<int>& active, int) {
    const int n = active[0] + active[1];
    return speedup[std::min<std::size_t>(static_cast<std::size_t>(n), 3) - 1] / n;
  };
  for (const double rho : {0.6, 1.0, 1.6}) {
    const std::vector<ClassLoad> classes = Scaled({{10, {0.02, 0}}, {10, {0.05, 1}}}, rho);
    const Result<Sharing> sharing = SharedServer(classes, speedup);
    ASSERT_TRUE(sharing);
    const Responses responses = SimulateSharing(classes, Order::kAllTogether, 60000, 3, speed);
    for (std::size_t i = 0; i < 2; ++i) {
      const Measured mean = MeanOf(responses[i]);
      EXPECT_NEAR(mean.value, sharing->stretch * classes[i].service.mean_s, mean.half_width) << rho;
    }
  }
}

TEST(SharedServer, RefusesBadSpeedups) {
  const ClassLoad classes[] = {{10, {0.01, 0}}};
  EXPECT_FALSE(SharedServer(classes, {}));
  const double slow[] = {0.5};
  EXPECT_FALSE(SharedServer(classes, slow));
  const double none[] = {1, 0};
  EXPECT_FALSE(SharedServer(classes, none));
  const ClassLoad much[] = {{150, {0.01, 0}}};
  const double some[] = {1, 1.4};
  EXPECT_EQ(SharedServer(much, some).error().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(SharedServer({}, some)->stretch, 1);
}

TEST(SharedVariance, IsThatOfMM1) {
  // Of all responses: mean^2 (2 + rho) / (2 - rho); here by the means given the service.
  const double alone[] = {1};
  for (const double rho : {0.3, 0.9}) {
    const ClassLoad load{rho, {1, 1}};
    const Sharing sharing = SharedServer({&load, 1}, alone).value();
    double within = 0;
    for (const WeightedTime& x : Values(load.service)) {
      within += x.weight * SharedVariance(sharing, {x.time_s, 0});
    }
    const double mean = sharing.stretch;
    EXPECT_NEAR(within + mean * mean, mean * mean * (2 + rho) / (2 - rho), 1e-2 * mean * mean);
  }
}

using Loads = std::vector<ClassLoad>;

// Means and percentiles: grid_test.cc.
TEST(SlicedQueues, LeaveTheWorkOfOneServer) {
  for (const GridCase& grid_case : GridCases()) {
    if (grid_case.device.mechanism != Mechanism::kSliced) continue;
    for (const double load : kGridLoads) {
      Loads classes;
      for (const ServedClass& c : AtLoad(grid_case, load)) {
        classes.push_back({c.rate_per_s, c.service});
      }
      const Result<std::vector<SlicedQueue>> queues = SlicedQueues(classes);
      ASSERT_TRUE(queues);
      double work = 0;
      for (std::size_t i = 0; i < classes.size(); ++i) {
        const ServiceTime& service = classes[i].service;
        const SlicedQueue& queue = (*queues)[i];
        work += classes[i].rate_per_s * service.mean_s * queue.wait_s +
                queue.busy * service.mean_s * (1 + service.cv2) / 2;
      }
      EXPECT_NEAR(work / FcfsSingleServer(classes)->mean_s, 1, 1e-6) << grid_case.name << load;
    }
  }
}

TEST(SlicedQueues, AreBetterThanThePublishedWait) {
  // Mixed Nano applications at 10/s each: simulated 28.1, 36.7, 54.2 and 86.9 ms.
  const Loads classes{
      {10, {kResnet18, 0}}, {10, {kGooglenet, 0}}, {10, {kResnet34, 0}}, {10, {kResnet50, 0}}};
  const double simulated[] = {0.0281, 0.0367, 0.0542, 0.0869};
  const double wait = PublishedGpuWait(classes).value();
  EXPECT_GT((wait + kResnet18) / simulated[0], 2);
  const std::vector<SlicedQueue> queues = SlicedQueues(classes).value();
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(queues[i].mean_s / simulated[i], 1, 0.06) << i;
}

TEST(SlicedQueues, MeetTheMixOnWhichTheFixedPointFails) {
  const Loads classes{{20, {kResnet50, 0}}, {20, {kResnet18, 0}}};
  const std::vector<SlicedQueue> queues = SlicedQueues(classes).value();
  EXPECT_NEAR(queues[0].mean_s / 0.0996, 1, 0.03);
  EXPECT_NEAR(queues[1].mean_s / 0.0253, 1, 0.03);
}

TEST(SlicedQueues, FollowWeights) {
  const Loads classes = Scaled({{10, {0.02, 0}}, {10, {0.02, 0}}}, 0.7);
  const double weights[] = {3, 1};
  const std::vector<SlicedQueue> queues = SlicedQueues(classes, weights).value();
  const Responses responses = SimulateSharing(
      classes, Order::kOneOfEachClass, 60000, 6, [](const std::vector<int>& active, int kind) {
        return active[0] == 0 || active[1] == 0 ? 1.0 : kind == 0 ? 0.75 : 0.25;
      });
  for (std::size_t i = 0; i < 2; ++i) {
    const Measured mean = MeanOf(responses[i]);
    EXPECT_NEAR(queues[i].mean_s, mean.value, 0.15 * mean.value + mean.half_width) << i;
  }
  EXPECT_LT(queues[0].mean_s, 0.8 * queues[1].mean_s);
}

TEST(SlicedQueues, RefuseBadInput) {
  const Loads classes{{10, {0.02, 0}}, {10, {0.02, 0}}};
  const double one[] = {1};
  EXPECT_FALSE(SlicedQueues(classes, one));
  const double none[] = {1, 0};
  EXPECT_FALSE(SlicedQueues(classes, none));
  EXPECT_EQ(SlicedQueues(Scaled(classes, 1)).error().code(), StatusCode::kResourceExhausted);
  const Loads idle{{0, {0.02, 0}}};
  EXPECT_EQ(SlicedQueues(idle)->front().mean_s, 0.02);
}

TEST(OnShare, IsAServerOfItsOwn) {
  EXPECT_DOUBLE_EQ(OnShare({1, {0.02, 0.5}}, 0.25, 1)->service.mean_s, 0.08);
  // A model that alone fills half of the device loses nothing with that half.
  EXPECT_DOUBLE_EQ(OnShare({1, {0.02, 0.5}}, 0.5, 0.5)->service.mean_s, 0.02);
  EXPECT_DOUBLE_EQ(OnShare({1, {0.02, 0.5}}, 0.25, 0.5)->service.mean_s, 0.04);
  EXPECT_FALSE(OnShare({1, {0.02, 0}}, 0, 1));
  EXPECT_FALSE(OnShare({1, {0.02, 0}}, 1.5, 1));
}

// Mean response by model, alone and together (tests/data/ibis/README.md).
std::map<std::string, std::array<double, 2>> BoardMeans(const std::string& name) {
  std::ifstream file(DULY_TEST_DATA "/ibis/" + name);
  std::map<std::string, std::array<double, 2>> sums;
  std::map<std::string, std::array<double, 2>> counts;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream row(line);
    std::string model;
    std::string how;
    std::string response;
    std::getline(row, model, ',');
    std::getline(row, how, ',');
    std::getline(row, response, ',');
    const std::size_t at = how == "alone" ? 0 : 1;
    sums[model][at] += std::stod(response) * 1e-6;
    ++counts[model][at];
  }
  for (auto& [model, sum] : sums) {
    for (std::size_t at = 0; at < 2; ++at) sum[at] /= counts[model][at];
  }
  return sums;
}

TEST(IbisBursts, NanoShares) {
  const auto measured = BoardMeans("nano_three_at_once.csv");
  ASSERT_EQ(measured.size(), 3U);
  std::vector<double> alone;
  for (const auto& [model, times] : measured) alone.push_back(times[0]);
  const std::vector<double> ends = EndsOfSharedBurst(alone);
  std::size_t i = 0;
  for (const auto& [model, times] : measured) EXPECT_NEAR(ends[i++] / times[1], 1, 0.03) << model;
}

TEST(IbisBursts, EdgeTpuServesInOrder) {
  const auto measured = BoardMeans("edgetpu_five_at_once.csv");
  double sum = 0;
  for (const char* model : {"ENets-S", "ENets-M", "ENets-L", "Inception V4", "SSD Mobilenet V2"}) {
    sum += measured.at(model)[0];
    EXPECT_NEAR(measured.at(model)[1] / sum, 1, 0.03) << model;
  }
}

}  // namespace
}  // namespace duly::queueing
