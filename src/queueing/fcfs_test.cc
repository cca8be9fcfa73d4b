// SPDX-License-Identifier: Apache-2.0
#include "queueing/fcfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

using ::testing::HasSubstr;

TEST(FcfsSingleServer, MeetsKnownMeans) {
  for (const double rho : {0.1, 0.5, 0.9, 0.99}) {
    // M/M/1: rho / (mu - lambda); M/D/1: half of it.
    const ClassLoad exponential[] = {{rho / 0.02, {0.02, 1}}};
    const ClassLoad constant[] = {{rho / 0.02, {0.02, 0}}};
    const double wait = rho * 0.02 / (1 - rho);
    EXPECT_NEAR(FcfsSingleServer(exponential)->mean_s, wait, 1e-12);
    EXPECT_NEAR(FcfsSingleServer(constant)->mean_s, wait / 2, 1e-12);
    // M/M/1: E[W^2] = 2 rho / (mu - lambda)^2.
    const double rest = 1 / 0.02 * (1 - rho);
    EXPECT_NEAR(FcfsSingleServer(exponential)->second_moment_s2, 2 * rho / (rest * rest), 1e-10);
  }
}

TEST(FcfsSingleServer, ClassesAddUp) {
  const ClassLoad split[] = {{3, {0.05, 0.5}}, {4, {0.05, 0.5}}, {0, {7, 0}}};
  const ClassLoad whole[] = {{7, {0.05, 0.5}}};
  EXPECT_NEAR(FcfsSingleServer(split)->mean_s, FcfsSingleServer(whole)->mean_s, 1e-15);
  EXPECT_EQ(FcfsSingleServer({})->mean_s, 0);
}

TEST(FcfsSingleServer, MeetsSimulation) {
  const ClassLoad classes[] = {{3.2, {0.0951, 0}}, {9, {0.0029, 2}}, {20, {0.02, 0.2}}};
  const double rates[] = {3.2, 9, 20};
  const Responses responses = SimulateFcfs(
      rates, 300000, 1,
      [&](int, int now, RandomStream& stream) { return Draw(classes[now].service, stream); });
  const Result<FcfsWait> wait = FcfsSingleServer(classes);
  ASSERT_TRUE(wait);
  EXPECT_NEAR(wait->utilization, 0.7304, 1e-4);
  for (std::size_t i = 0; i < 3; ++i) {
    const Measured mean = MeanOf(responses[i]);
    EXPECT_NEAR(mean.value, wait->mean_s + classes[i].service.mean_s, mean.half_width) << i;
  }
}

TEST(FcfsSingleServer, RefusesWhatHasNoMean) {
  const ClassLoad full[] = {{10, {0.1, 0}}};
  const Result<FcfsWait> wait = FcfsSingleServer(full);
  ASSERT_FALSE(wait);
  EXPECT_EQ(wait.error().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(wait.error().message(), HasSubstr("utilization is 1: expected below 1"));
  const ClassLoad huge[] = {{1e308, {1e308, 0}}};
  EXPECT_FALSE(FcfsSingleServer(huge));
}

TEST(ExponentialWait, IsExactForExponentialService) {
  const double rho = 0.8;
  const ClassLoad classes[] = {{rho, {1, 1}}};
  const ExponentialWait wait = ToExponential(FcfsSingleServer(classes).value());
  for (const double q : {0.1, 0.5, 0.9, 0.95, 0.99, 0.999}) {
    // P(W > t) = rho e^(-(1-rho) t); the response is exponential with mean 1 / (1-rho).
    EXPECT_NEAR(WaitQuantile(wait, q), std::max(0.0, std::log(rho / (1 - q)) / (1 - rho)), 1e-9);
    EXPECT_NEAR(ResponseQuantile(wait, {1, 1}, q), -std::log(1 - q) / (1 - rho), 0.001 / (1 - rho));
  }
  EXPECT_EQ(ResponseQuantile({}, {2, 0}, 0.99), 2);
}

TEST(FcfsServers, MeetsErlangCTables) {
  // P(W > 0) from Erlang's table: c, offered load a, probability.
  const struct {
    int servers;
    double offered;
    double probability;
  } rows[] = {{1, 0.5, 0.5},    {2, 1, 1.0 / 3},   {2, 1.5, 0.642857}, {3, 2, 4.0 / 9},
              {5, 4, 0.554113}, {10, 8, 0.409180}, {100, 90, 0.216940}};
  for (const auto& row : rows) {
    const Result<MultiServerWait> wait = FcfsServers({row.offered / 0.1, {0.1, 1}}, row.servers);
    ASSERT_TRUE(wait);
    EXPECT_NEAR(wait->distribution.probability, row.probability, 2e-6) << row.servers;
    EXPECT_NEAR(wait->mean_s, row.probability * 0.1 / (row.servers - row.offered), 1e-5 * 0.1);
  }
}

TEST(FcfsServers, WithOneServerIsPollaczekKhinchine) {
  for (const double cv2 : {0.0, 0.4, 3.0}) {
    const ClassLoad load{7, {0.1, cv2}};
    EXPECT_NEAR(FcfsServers(load, 1)->mean_s, FcfsSingleServer({&load, 1})->mean_s, 1e-14);
  }
}

TEST(FcfsServers, RefusesBadInput) {
  EXPECT_FALSE(FcfsServers({1, {0.1, 0}}, 0));
  EXPECT_FALSE(FcfsServers({1, {0.1, 0}}, 10001));
  EXPECT_EQ(FcfsServers({20, {0.1, 0}}, 2).error().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(FcfsServers({0, {0.1, 0}}, 2)->mean_s, 0);
}

TEST(PublishedCpuStage, IsOneExponentialServerWithOneCore) {
  EXPECT_NEAR(PublishedCpuStageMean(30, 50, 1).value(), 1.0 / 20, 1e-15);
  EXPECT_NEAR(PublishedCpuStageMean(60, 50, 2).value(), 0.02 / 0.4, 1e-15);
  EXPECT_FALSE(PublishedCpuStageMean(50, 50, 1));
  EXPECT_FALSE(PublishedCpuStageMean(1, 50, 0));
}

TEST(Tandem, ExponentialServersAreIndependent) {
  // Burke: the response of both is the sum of independent exponentials, here Erlang(2).
  const Stage stages[] = {{0.1, 0.01}, {0.1, 0.01}};
  const Result<Stage> both = Tandem(stages);
  ASSERT_TRUE(both);
  EXPECT_DOUBLE_EQ(both->mean_s, 0.2);
  const double t = Quantile(ToServiceTime(*both), 0.95);
  EXPECT_NEAR(1 - std::exp(-t / 0.1) * (1 + t / 0.1), 0.95, 1e-6);
  const Stage bad[] = {{-1, 0}};
  EXPECT_FALSE(Tandem(bad));
}

TEST(FcfsTandem, ConstantServicesWaitAsAtTheLongestAlone) {
  const ServiceTime services[] = {{0.02, 0}, {0.025, 0}, {0.01, 0}};
  const ClassLoad longest{28, services[1]};
  const double wait = FcfsSingleServer({&longest, 1})->mean_s;
  EXPECT_NEAR(FcfsTandem(28, services)->mean_s, 0.055 + wait, 1e-12);
}

TEST(FcfsTandem, ExponentialServersAreIndependent) {
  const ServiceTime services[] = {{0.02, 1}, {0.025, 1}};
  const Result<Stage> both = FcfsTandem(28, services);
  const double first = 0.02 / (1 - 28 * 0.02);
  const double second = 0.025 / (1 - 28 * 0.025);
  EXPECT_NEAR(both->mean_s, first + second, 1e-12);
  EXPECT_NEAR(both->variance_s2, first * first + second * second, 1e-12);
}

TEST(FcfsTandem, OneUnstableStageIsRefused) {
  const ServiceTime services[] = {{0.02, 1}, {0.025, 1}};
  EXPECT_FALSE(FcfsTandem(41, services));
  EXPECT_FALSE(FcfsTandem(-1, services));
}

}  // namespace
}  // namespace duly::queueing
